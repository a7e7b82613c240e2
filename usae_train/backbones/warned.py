"""What a backbone warns of; light, for command lines know it before torch is needed."""


class OfABackbone(UserWarning):
    """What is said of a backbone to who uses it; a command shows it as one line."""


class NearlyTheWeights(OfABackbone):
    """A backbone's weights are not the same to the bit, and give nearly the same tokens."""


class ReadOtherwise(OfABackbone):
    """A backbone's layer is not quite what its spec, or timm's `forward_features`, would make one expect."""
