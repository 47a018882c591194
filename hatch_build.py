"""A wheel whose hot modules are compiled (mypyc), where IDTOKEN_PROXY_COMPILE=1 asks for one; any other build is as without
this file. The sources stay beside what is made of them, so that tracebacks keep their lines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "IDTOKEN_PROXY_COMPILE"


class CompileHook(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        """What an isolated build installs beside hatchling."""
        return list(self.config["requires"]) if self._asked else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._asked or version == "editable":
            return
        compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
        if shutil.which(compiler.split()[0]) is None:
            raise RuntimeError(f"{SWITCH}=1 needs {compiler}: apt-get install gcc, or name another one in CC")
        self._made = tempfile.TemporaryDirectory()  # goes with the builder
        source, made = Path(self.root) / "proxy", Path(self._made.name)
        # In a process of its own: what mypyc imports changes how this one would build.
        subprocess.run([sys.executable, __file__, made, *self.config["modules"]], cwd=source, check=True)
        for library in made.glob("lib/**/*.so"):
            build_data["force_include"][str(library)] = str(library.relative_to(made / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    @property
    def _asked(self) -> bool:
        return self.target_name == "wheel" and os.environ.get(SWITCH) == "1"


def compile_modules(made: Path, modules: list[str]) -> None:
    """`modules`: their files, from the source root on, where this runs."""
    from mypyc.build import mypycify  # noqa: PLC0415 -- installed for such a build alone
    from setuptools import setup  # noqa: PLC0415

    options = ["--config-file=", "--ignore-missing-imports", f"--cache-dir={made / 'cache'}"]
    extensions = mypycify(
        [*options, *modules],
        group_name="idtoken_proxy",
        opt_level="2",
        debug_level="0",
        multi_file=True,  # for two thirds of the compiler's time
        target_dir=str(made / "c"),
    )
    for extension in extensions:  # what another compiler warns of is no reason to build nothing
        extension.extra_compile_args = [one for one in extension.extra_compile_args if one != "-Werror"]
    setup(
        name="idtoken-proxy",
        packages=[],
        ext_modules=extensions,
        script_args=[
            "--quiet",
            "build_ext",
            f"--build-lib={made / 'lib'}",
            f"--build-temp={made / 'objects'}",
        ],
    )


if __name__ == "__main__":
    compile_modules(Path(sys.argv[1]), sys.argv[2:])
