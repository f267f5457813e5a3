"""How strange data are to a model: in nats, higher for stranger data.

Each is a function of :class:`~pyrovae.exploration.scores.inputs.ScoreInputs`; one that does not
apply raises, and says why.
"""
