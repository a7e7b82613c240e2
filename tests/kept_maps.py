"""Maps of the top pictures of a USAE's statistics, by encoding all of them again."""

from usae_train.model.natural import encode_pictures
from usae_train.model.top_maps import TopCodes, TopMaps
from usae_train.model.usae import USAE


def maps_of_statistics(usae: USAE) -> TopMaps:
    """Of the pictures that the USAE was measured on."""
    statistics, top = usae.statistics, TopCodes(usae.names)
    for numbers, codes in encode_pictures(usae, usae.measured_on.reopened()):
        top.add(numbers, codes, statistics.top_images)
    return top.maps(statistics.top_images, statistics.quantiles[..., -1], usae.input_size)
