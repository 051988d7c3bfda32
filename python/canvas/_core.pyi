# For type checkers: the native module exists; its docstrings tell the types.
from typing import Any

def __getattr__(name: str) -> Any: ...
