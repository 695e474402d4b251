from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "cv2", "pandas", "pyarrow", "sklearn", "matplotlib")


def test_a_token_actor_imports_nothing_heavy() -> None:
    code = f"""
import sys, actors.tokens, raylike.providers
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
