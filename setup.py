"""Packaging: two packages, and the recipes folder carried into the wheel."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "refit_mv" / "__init__.py").read_text(encoding="utf-8")).group(1)

FARM = ["dask>=2024.8", "distributed>=2024.8", "submitit>=1.5", "fsspec>=2024.6", "s3fs>=2024.6", "sshfs>=2024.6"]


class BuildWithRecipes(build_py):
    """Recipes live at the top of the checkout, where people look for them, and inside the package once installed."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "refit_mv" / "recipes"
            shutil.copytree(HERE / "recipes", target, dirs_exist_ok=True)


setup(
    name="refit-mv",
    version=VERSION,
    description="Fit parametric bodies (SMPL family) to synchronized, calibrated views",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "THIRD_PARTY.md"],
    python_requires=">=3.11",
    package_dir={"": "."},
    packages=find_packages(include=["refit_mv", "refit_mv.*", "calib", "calib.*"]),
    package_data={"refit_mv": ["py.typed", "**/assets/*", "**/weights/*"], "calib": ["py.typed", "boards/*.yaml"]},
    cmdclass={"build_py": BuildWithRecipes},
    install_requires=[
        "torch>=2.4",
        "numpy>=1.26",
        "numba>=0.60",
        "scipy>=1.12",
        "h5py>=3.10",
        "pyyaml>=6.0",
        "click>=8.1",
        "pydantic>=2.6",
        "rich>=13.0,<15",
        "jaxtyping>=0.2.30",
        "opencv-contrib-python>=4.8",
        "av>=12,<19",
        "safetensors>=0.4",
        "matplotlib>=3.8",
        "ai-edge-litert>=2.0",
        "pygltflib>=1.16",
        "ezc3d>=1.5",
    ],
    extras_require={
        # Licensed for non-commercial research only, as SMPL files mostly are: for whoever has such a file.
        "smpl": ["smplx>=0.1.28"],
        # USD's libraries unpack to 160 MB.
        "studio": ["usd-core>=24.8"],
        # Blender, 400 MB.
        "fbx": ["bpy>=4.2"],
        # Many takes on many machines, and object stores. Processes of one machine need none of it.
        "farm": FARM,
        # A server of scenes for the browser, 40 MB with what it needs.
        "view": ["viser>=1.0"],
        "rtmlib": ["rtmlib>=0.0.13", "onnxruntime>=1.17"],
        "build-body": ["anny==0.6.2"],
        "test": [
            "smplx>=0.1.28",
            "aniposelib>=0.7",
            "usd-core>=24.8",
            "trimesh>=4",
            *FARM,
            "moto[server]>=5",
            "bvhio>=1.5",
            "viser>=1.0",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "beartype>=0.18",
            "ruff==0.17.6",
            "pyright==1.1.414",
        ],
    },
    entry_points={"console_scripts": ["refit-mv = refit_mv.cli:main"]},
)
