"""Why a build cannot be done: one error, with the file and line that a person has to look at."""


class BuildError(Exception):
    """The tree does not build. `message` says what and why; `file` is relative to the root, `line` counts from 1; both may be unknown.

    `warnings` are those of the build until then, see `build.Build`.
    """

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message, file, line)
        self.message = message
        self.file = file
        self.line = line
        self.warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.file is None:
            return self.message
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"
