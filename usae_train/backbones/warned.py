"""What a backbone warns of; light, for command lines know it before torch is needed."""


class NearlyTheWeights(UserWarning):
    """A backbone's weights are not the same to the bit, and give nearly the same tokens."""
