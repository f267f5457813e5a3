"""Out-of-distribution scores in nats, higher for more unusual data.

Each is a function of :class:`~pyrovae.exploration.scores.inputs.ScoreInputs`; one that does not
apply raises an error with the reason.
"""
