"""Small pictures of one colour, by which they are known again."""

import io

import torch
from PIL import Image


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), (40 * number, 0, 255 - 40 * number)).save(file, "PNG")
    return file.getvalue()


def canvas_of(number: int) -> torch.Tensor:
    return (torch.tensor([40 * number, 0, 255 - 40 * number]) / 255).view(3, 1, 1).expand(3, 8, 8)
