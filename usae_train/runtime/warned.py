"""What we warn of; light, for command lines know it before torch is needed. A command shows each as one line."""


class OneLine(UserWarning):
    """What a command shows without the place in the code."""


class FormerName(OneLine):
    """A setting or option is given by a name that it had in an earlier version."""


class NotRead(OneLine):
    """Pictures that cannot be read, or are left out of those that are there."""


class OfABackbone(OneLine):
    """A warning about a backbone for who uses it."""


class NearlyTheWeights(OfABackbone):
    """A backbone's weights are not the same to the bit, and give nearly the same tokens."""


class ReadOtherwise(OfABackbone):
    """A backbone's layer is not quite what its spec, or timm's `forward_features`, would make one expect."""
