"""Checks of a converted model; calling the package is calling `rfponnx.verify.verify.verify`.

The function and the package share the name `rfponnx.verify`, and an import of any module in here
binds that name to the package.  So the package answers to both.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **more: Any) -> Any:
        """Verify, see `rfponnx.verify.verify.verify`."""
        from rfponnx.verify.verify import verify

        return verify(*args, **more)


sys.modules[__name__].__class__ = _Callable
