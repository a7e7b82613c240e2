"""The demo universe: scenes whose factors are known for every pixel, three small backbones, a USAE over them."""
