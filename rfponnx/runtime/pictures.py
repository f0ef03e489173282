"""Pictures from files, in the size that an input takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rfponnx.errors import InputError
from rfponnx.runtime.ports import Array
from rfponnx.runtime.preprocess import Pixels

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def opened(
    path: Path,
    mode: str,
    size: tuple[int | str | None, int | str | None],
    pixels: Pixels,
    where: str,
) -> Array:
    """Return a picture as uint8 [H, W, C], resized and cut as that is asked for.

    Raises
    ------
    InputError
        No such file, no picture, or one that does not fit the sizes `size` that are numbers.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError("pictures need Pillow", where, "pip install 'rfponnx[plot]'") from error
    if not path.is_file():
        raise InputError("no such file", where)
    try:
        with Image.open(path) as found:
            if found.mode.startswith(("I", "F")):
                raise InputError("has more than 8 bits a pixel", where, "give a .npy file")
            picture = ImageOps.exif_transpose(found).convert(mode)
    except InputError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"cannot be read as a picture: {reason}", where) from error
    height, width = (d if isinstance(d, int) else None for d in size)
    picture = _fitted(picture, (height, width), pixels, where)
    target = (width or picture.width, height or picture.height)
    if picture.size != target:
        got, want = (f"{s[0]} x {s[1]}" for s in (picture.size, target))
        what = f"the picture is {got} pixels, the input takes {want} (width x height)"
        hint = "--resize fits it" if not (pixels.size or pixels.crop) else "change size or crop"
        raise InputError(what, where, hint)
    array: Array = np.asarray(picture, np.uint8)
    return array.reshape(picture.height, picture.width, -1)


def _fitted(picture: Any, size: tuple[int | None, int | None], pixels: Pixels, where: str) -> Any:
    """Return a picture resized to fit, or resized in proportion and cut out of its middle."""
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    crop = pixels.crop * 2 if len(pixels.crop) == 1 else pixels.crop
    if not crop:
        if not pixels.resize and not pixels.size:
            return picture
        side = pixels.size * 2 if len(pixels.size) == 1 else pixels.size
        height, width = side or (size[0] or picture.height, size[1] or picture.width)
        if picture.size == (width, height):
            return picture
        return picture.resize((width, height), bilinear)
    if pixels.resize or pixels.size:
        picture = picture.resize(_in_proportion(picture.size, pixels.size or crop), bilinear)
    left, top = (picture.width - crop[1]) // 2, (picture.height - crop[0]) // 2
    if left < 0 or top < 0:
        got, want = f"{picture.width} x {picture.height}", f"{crop[1]} x {crop[0]}"
        what = f"the picture is {got} pixels, {want} (width x height) cannot be cut out of it"
        raise InputError(what, where, "--resize fits it")
    return picture.crop((left, top, left + crop[1], top + crop[0]))


def _in_proportion(have: tuple[int, int], wanted: tuple[int, ...]) -> tuple[int, int]:
    """Return width and height of the same proportion: the shorter side is that long.

    With two sides wanted, height and width, both are reached and one of them exactly.
    """
    width, height = have
    if len(wanted) == 1:
        above, below = wanted[0], min(width, height)
    else:
        by_height = wanted[0] * width >= wanted[1] * height
        above, below = (wanted[0], height) if by_height else (wanted[1], width)
    return width * above // below, height * above // below
