"""How strange data are to a model: in nats, higher for stranger data.

Each is a function of what was :class:`~pyrovae.exploration.scores.seen.Seen`; one that does not
apply raises, and says why.
"""
