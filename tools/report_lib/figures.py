"""The figures of one case, in the order of the page."""

from dataclasses import dataclass

from .attack_figures import draw_perturbations, draw_universal
from .curve_figures import draw_identities, draw_votes
from .model_figures import draw_alignment, draw_boundary, draw_coordinates, draw_data, draw_scores
from .seed_figures import draw_measures, draw_stops, draw_training
from .shape_figures import draw_images, draw_places, draw_saliency, draw_shape_measures


@dataclass(frozen=True)
class Plate:
    """One figure of a page."""

    key: str  # names the file: "<number>-<case>-<key>"
    figure: object
    caption: str
    columns: int  # of the page's twelve


def case_plates(case):
    """(plates, notes): what can be drawn of this case, and one sentence for each figure that cannot."""
    plates, notes = [], []
    for key, draw, columns, needs in FIGURES:
        drawn = draw(case)
        if drawn is None and (needs is None or case.config.get("mask0")):  # images of shapes have no coordinates
            continue
        if drawn is None:
            notes.append(f"{key.replace('-', ' ')}: needs {needs}")
        else:
            plates.append(Plate(key, *drawn, columns))
    return plates, notes


# Key, function, columns, and what it needs; None: only some experiments have it, and no page misses it.
FIGURES = (
    ("images", draw_images, 12, None),
    ("places", draw_places, 12, None),
    ("saliency", draw_saliency, 12, None),
    ("test-sets", draw_shape_measures, 6, None),
    ("data", draw_data, 8, "sample/x and sample/y with two coordinates or more"),
    ("decision-boundary", draw_boundary, 4, "boundary/a, boundary/b and boundary/label"),
    ("scores", draw_scores, 6, "scores/labels and the scores of a test set"),
    ("measures", draw_measures, 6, "the AUC or accuracy of a test set for some seed"),
    ("training", draw_training, 8, "history/updates and a measure at the checks"),
    ("stops", draw_stops, 4, "metrics.updates"),
    ("coordinates", draw_coordinates, 6, "per_coordinate_accuracy"),
    ("alignment", draw_alignment, 6, "alignment/cosine and alignment/norm"),
    ("perturbations", draw_perturbations, 6, None),
    ("universal", draw_universal, 12, None),
    ("votes", draw_votes, 12, None),
    ("identities", draw_identities, 6, None),
)
