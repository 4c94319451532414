"""Programs on the machine, built, and the listing of their kernels."""

import fcntl
import pathlib
import re
import subprocess
import tempfile

from lab_lib import sass

from .listing import listing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ARCHITECTURE = "sm_90"  # what tests/machine decodes; a is for architecture-specific code


class MachineError(Exception):
    """Something that the user can mend; `exit_code` as documented."""

    def __init__(self, message, exit_code=3):
        super().__init__(message)
        self.exit_code = exit_code


def tool(name, folders):
    found = sass.find_tool(name, folders)
    if not found:
        raise MachineError(f"{name} is missing: it comes with the CUDA toolkit; name its folder with --tools")
    return found


def run(command, **options):
    return subprocess.run([str(part) for part in command], text=True, check=False, **options)


class Build:
    """A build folder with device code for Hopper. tools: folders of nvdisasm and cuobjdump, if not where they are
    looked for; without them nothing is built."""

    def __init__(self, folder, tools):
        self.folder = pathlib.Path(folder)
        self._nvdisasm, self._cuobjdump = tool("nvdisasm", tools), tool("cuobjdump", tools)

    def configure(self, *options):
        """For CUDA where it is no build folder yet; then with `options`, if there are some."""
        if not (self.folder / "CMakeCache.txt").exists():
            self._cmake("-G", "Ninja", "-DOCCAM_CUDA=ON", "-DOCCAM_CUDA_ARCHITECTURES=90a-real", "-DOCCAM_BENCH=ON")
        if options:
            self._cmake(*options)

    def _cmake(self, *options):
        if run(["cmake", "-S", ROOT, "-B", self.folder, *options], stdout=subprocess.DEVNULL).returncode:
            raise MachineError(f"{self.folder} cannot be configured for CUDA; see above", 2)

    def program(self, name):
        """Builds and returns one of cmake/OccamMachine.cmake's programs; commands side by side build in turn."""
        with open(self.folder / "machine.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = run(["cmake", "--build", self.folder, "--target", name], stdout=subprocess.DEVNULL)
        if done.returncode:
            command = f"cmake --build {self.folder} --target {name}"
            raise MachineError(f"{name} cannot be built; run `{command}` to see why", 2)
        return self.folder / "machine" / name

    def cubins(self, files, to):
        """Extracts the cubins of object files or archives into folder `to`."""
        for file in files:
            done = run([self._cuobjdump, "-xelf", "all", file.resolve()], cwd=to, capture_output=True)
            if done.returncode:
                raise MachineError(f"cuobjdump cannot read {file}: {done.stderr.strip()}", 1)
        found = [path for path in sorted(pathlib.Path(to).glob("*.cubin")) if ARCHITECTURE in path.name]
        if not found:
            raise MachineError(
                f"{self.folder} has no device code for {ARCHITECTURE}; configure it with "
                "-DOCCAM_CUDA_ARCHITECTURES=90a-real", 2,
            )
        return found

    def sources(self):
        """Files that hold device code."""
        objects = ("lab_runner.dir", "bench_worker.dir")
        more = [path for folder in objects for path in self.folder.glob(f"CMakeFiles/{folder}/**/*.cu.o")]
        return [self.folder / "liboccam.a", *more]

    def listing(self):
        """The listing of all kernels."""
        return self.listing_of(self.sources(), "kernels.lst")

    def listing_of(self, sources, name):
        """The listing of the kernels in object files or archives, made anew where one is newer."""
        path = self.folder / "machine" / name
        if path.exists() and all(path.stat().st_mtime > source.stat().st_mtime for source in sources):
            return path
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # others may be making it at the same time
            made = pathlib.Path(folder) / name
            with open(made, "w", encoding="utf-8") as out:
                for cubin in self.cubins(sources, folder):
                    print(*listing(cubin, self._nvdisasm), sep="\n", file=out)
            made.replace(path)
        return path

    def source_lines(self, kernel):
        """{address: "file:line < file:line …"} of a kernel's instructions, the innermost inlined function first."""
        with tempfile.TemporaryDirectory() as folder:
            for cubin in self.cubins(self.sources(), folder):
                if kernel.encode() in cubin.read_bytes():
                    text = run([self._nvdisasm, "-g", "-c", cubin], capture_output=True).stdout
                    for function in re.split(r"\n\s*\.section\s+\.text\.", text)[1:]:
                        if function.split(",", 1)[0].strip().strip('"') == kernel:
                            return lines_of(function)
        raise MachineError(f"no kernel is called {kernel}", 1)


_PLACE = re.compile(r'//## File "([^"]+)", line (\d+)(?: inlined at "([^"]+)", line (\d+))?')
_ADDRESS = re.compile(r"\s+/\*([0-9a-f]{4,6})\*/")


def lines_of(function):
    """{address: place} of a function as `nvdisasm -g -c` prints it."""
    places, chain, place = {}, [], "?"
    for line in function.splitlines():
        if found := _PLACE.search(line):
            inner, outer = found.group(1, 2), found.group(3, 4)
            chain = chain or ["{}:{}".format(pathlib.Path(inner[0]).name, inner[1])]
            if outer[0]:
                chain.append("{}:{}".format(pathlib.Path(outer[0]).name, outer[1]))
        elif found := _ADDRESS.match(line):
            if chain:
                place, chain = " < ".join(chain), []
            places[int(found.group(1), 16)] = place
    return places
