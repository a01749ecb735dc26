"""The entry point. `--version` is answered before anything heavy is imported."""

import gc
import os
import sys

from labctl import __version__


def main() -> None:
    """Run the command line; exits with the documented code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"labctl {__version__}\n")
        return
    # Else pydantic looks for plugins in every distribution there is; none may change our models.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # What is imported stays: a tenth of a short run would be spent on looking through it.
    gc.set_threshold(150_000)
    from labctl.cli import run

    code = run()
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
