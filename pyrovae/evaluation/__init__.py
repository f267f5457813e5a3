"""Numbers that a fitted model gives to data; nothing here changes it."""
