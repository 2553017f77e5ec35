"""A command prints a warning about a user's data in one line, and other warnings as Python does."""

import warnings

import pytest

from galaxy_da.cli import run_function
from galaxy_da.errors import SampleWarning


def test_warnings_about_data_are_one_line(capsys):
    def command():
        warnings.warn("sdss: the colours are odd", SampleWarning, stacklevel=1)
        warnings.warn("from another library", FutureWarning, stacklevel=1)

    with pytest.warns(FutureWarning, match="from another library") as others:
        assert run_function(command, "galaxy-da", []) == 0
    assert capsys.readouterr().err == "galaxy-da: warning: sdss: the colours are odd\n"
    assert len(others) == 1
