"""What a case's coordinates are: their blocks, their names, and which are the simple ones S."""

_KIND_NAMES = {
    "linear": "linear",
    "slab3": "3-slab",
    "slab5": "5-slab",
    "slab7": "7-slab",
    "unused": "unused",
}


def coordinate_kinds(config, dim):
    """The block of every coordinate, from the configuration; None for those it does not tell."""
    coordinates = _find(config, "coordinates")
    if isinstance(coordinates, list) and len(coordinates) == dim:
        kinds = [entry.get("kind") if isinstance(entry, dict) else entry for entry in coordinates]
        return [_KIND_NAMES.get(str(kind), str(kind)) for kind in kinds]
    kinds = []
    for key, name in (("linear", "linear"), ("slabs3", "3-slab"), ("slabs5", "5-slab"), ("slabs7", "7-slab")):
        number = _find(config, key)
        kinds += [name] * (number if isinstance(number, int) and not isinstance(number, bool) else 0)
    if not 0 < len(kinds) <= dim:
        return [None] * dim
    kinds += ["unused"] * (dim - len(kinds))
    position = _find(config, "linear_position")
    if isinstance(position, int) and 0 < position < dim and kinds[0] == "linear":
        kinds[0], kinds[position] = kinds[position], kinds[0]
    return kinds


def simple_coordinates(config, dim):
    simple = _find(config, "simple")
    if isinstance(simple, int):
        simple = [simple]
    if not isinstance(simple, list):
        return [0]
    return [index for index in simple if isinstance(index, int) and 0 <= index < dim] or [0]


def shown_coordinates(config, dim):
    """(first of S, first of the others, second of the others); None for those there are not."""
    simple = simple_coordinates(config, dim)
    others = [index for index in range(dim) if index not in simple]
    return simple[0], *(others + [None, None])[:2]


def _find(config, key):
    """config[key], or the same key one level down ({"data": {"linear": 1}})."""
    if key in config:
        return config[key]
    for value in config.values():
        if isinstance(value, dict) and key in value:
            return value[key]
    return None


def axis_name(kinds, index):
    return f"coordinate {index}" + (f" ({kinds[index]})" if kinds[index] else "")
