"""What pyproject.toml cannot say: the YAMLs of ``hparams/`` are a part of the package.

They lie at the top, where ``python train.py hparams/acorl_ecapa.yaml`` finds them.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["acorl_sb*"]), "acorl_sb.hparams"],
    package_dir={"acorl_sb.hparams": "hparams"},
)
