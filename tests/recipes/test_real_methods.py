"""Every method of the package: its source tells what its class is, and its line can be read back."""

import pytest

from paretolm.recipes import index
from paretolm.recipes.parse import knob_types, parse_methods, sort_of, spell_method


@pytest.mark.parametrize("name", index.own().files)
def test_source_class_and_line_tell_the_same(name):
    cls, info = index.load_method(name), index.method_info(name)
    assert cls.name == name
    assert index.describe(cls) == info
    assert info.summary
    assert all(sort_of(kind) for kind in knob_types(cls).values())
    if all(knob.default is not None for knob in info.knobs):
        (method,) = parse_methods(name)
        assert parse_methods(spell_method(method, every_knob=True)) == (method,)
