"""The report of networks on images of shapes: every figure from arrays of the real keys, and none without them."""

import unittest

import report_case  # first: it puts the tools on the path
import numpy as np
import synthetic_result
from report_lib import figures, overview, page, seed_figures, shape_figures
from report_lib.loading import load_result

SIDE, IMAGES, TESTED, SEEDS = 20, 12, 40, 3


def make_case(name="FCN", seeds=SEEDS, **settings):
    """(case of result.json, its arrays): a network that goes by the place."""
    random = np.random.default_rng(5)
    accuracy = {"iid": 1.0, "uniform": 0.5, "swapped": 0.0, "conflict": 0.25}
    arrays = {f"{name}/masks": np.zeros((2, SIDE, SIDE), np.float32)}

    def images(classes, places):
        drawn = np.zeros((len(classes), SIDE, SIDE), np.float32)
        for image, kind, place in zip(drawn, classes, places):
            row, column = (3, 3) if place == 0 else (12, 12)
            image[row : row + 3 + kind, column : column + 4 - kind] = 1
        return drawn

    classes = np.arange(IMAGES) % 2
    arrays[f"{name}/train/image"], arrays[f"{name}/train/class"] = images(classes, classes), classes
    for of in accuracy:
        places = classes if of == "iid" else np.arange(IMAGES) // 2 % 2 if of == "uniform" else 1 - classes
        arrays[f"{name}/images/{of}"] = images(classes, places)
        arrays[f"{name}/images/{of}_class"] = classes
        arrays[f"{name}/images/{of}_predicted"] = places
        arrays[f"{name}/saliency/{of}"] = random.normal(size=(IMAGES, SIDE, SIDE)).astype(np.float32)
        kinds = np.tile(np.arange(TESTED) % 2, (seeds, 1))
        wrong = of in ("swapped", "conflict")
        arrays[f"{name}/scores/{of}"] = (2.0 * kinds - 1).astype(np.float32) * (-1 if wrong else 1)
        arrays[f"{name}/classes/{of}"] = kinds
        arrays[f"{name}/offsets/{of}"] = random.integers(-5, 5, (seeds, TESTED, 2))
    config = {"mask0": "star", "mask1": "masks/crescent.png", "bias": 1.0, "hidden": "64x64", "scale": 1.0, **settings}
    metrics = {f"{of}_accuracy": [value] * seeds for of, value in accuracy.items()}
    case = {
        "name": name,
        "config": config,
        "seeds": list(range(seeds)),
        "status": ["limit"] * seeds,
        "metrics": {**metrics, "updates": [200] * seeds},
        "shown": [*metrics, "updates"],
        "published": {},
        "verdicts": {},
    }
    return case, {key: np.ascontiguousarray(value) for key, value in arrays.items()}


class Shapes(report_case.Small):
    KEYS = ("images", "places", "saliency", "test-sets")

    def load(self, cases=None, arrays=None):
        if cases is None:
            case, arrays = make_case()
            cases = [case]
        result = synthetic_result.document(cases, "stars_and_moons")
        return load_result(synthetic_result.write(self.folder, result, arrays or {}))

    def test_every_figure_is_drawn_and_nothing_of_slabs_is_missed(self):
        plates, notes = figures.case_plates(self.load().cases[0])
        keys = [plate.key for plate in plates]
        for key in self.KEYS:
            self.assertIn(key, keys)
        self.assertEqual(notes, [])
        captions = " ".join(plate.caption for plate in plates)
        for text in ("star", "crescent", "3 seeds"):
            self.assertIn(text, captions)
        self.assertNotIn("masks/", captions)

    def test_images_say_what_the_network_says(self):
        figure, _ = shape_figures.draw_images(self.load().cases[0])
        titles = [axis.get_title(loc="center") for axis in figure.axes]
        by_row = [titles[k : k + shape_figures.COLUMNS] for k in range(0, len(titles), shape_figures.COLUMNS)]
        self.assertEqual(len(by_row), 5)
        self.assertEqual({title[-1] for title in by_row[1]}, {"✓"})
        self.assertEqual({title[-1] for title in by_row[2]}, {"✗"})
        self.assertEqual({title[-1] for title in by_row[3]}, {"✗"})
        self.assertEqual({title[-1] for title in by_row[4]}, {"✓", "✗"})
        self.assertEqual(set(by_row[0]), {"star", "crescent"})

    def test_places_tell_how_many_are_right(self):
        figure, _ = shape_figures.draw_places(self.load().cases[0])
        self.assertEqual([axis.get_title(loc="left").split(": ")[1] for axis in figure.axes],
                         ["100.0% right", "100.0% right", "0.0% right", "0.0% right"])

    def test_further_sets_along_training_have_a_panel(self):
        case, arrays = make_case()
        arrays["FCN/history/updates"] = np.tile([1, 100, 200], (SEEDS, 1))
        for of in ("train", "test", "pgd", "uniform", "swapped"):
            arrays[f"FCN/history/{of}_accuracy"] = np.tile([0.5, 0.6, 0.7], (SEEDS, 1))
        loaded = self.load([case], arrays).cases[0]
        axes = seed_figures.draw_training(loaded)[0].axes
        self.assertEqual([axis.get_title(loc="left") for axis in axes], ["Accuracy", "Accuracy along training"])
        lines = [axis.get_legend_handles_labels()[1] for axis in axes]
        self.assertEqual(lines, [["train", "test", "test under PGD"], ["uniform places", "swapped places"]])
        del arrays["FCN/history/uniform_accuracy"], arrays["FCN/history/swapped_accuracy"]
        loaded = self.load([case], arrays).cases[0]
        self.assertEqual(len(seed_figures.draw_training(loaded)[0].axes), 1)

    def test_what_swapped_places_are_depends_on_the_bias(self):
        def caption(**settings):
            case, arrays = make_case(**settings)
            return shape_figures.draw_images(self.load([case], arrays).cases[0])[1]

        self.assertIn("where training had the other one", caption())
        self.assertNotIn("where training had the other one", caption(bias=0.5))
        self.assertIn("beyond all that training gave it", caption(bias=0.5))

    def test_results_without_conflicting_places(self):
        case, arrays = make_case()
        del case["metrics"]["conflict_accuracy"]
        case["shown"].remove("conflict_accuracy")
        arrays = {key: array for key, array in arrays.items() if "conflict" not in key}
        loaded = self.load([case], arrays).cases[0]
        figure, caption = shape_figures.draw_images(loaded)
        self.assertEqual(len(figure.axes), 4 * shape_figures.COLUMNS)
        self.assertNotIn("onflict", caption)
        ticks = shape_figures.draw_shape_measures(loaded)[0].axes[0].get_xticklabels()
        self.assertEqual([tick.get_text() for tick in ticks], ["i.i.d. test", "uniform places", "swapped places"])
        self.assertEqual(len(shape_figures.draw_places(loaded)[0].axes), 3)

    def test_no_arrays_no_figures(self):
        case, _ = make_case()
        case["metrics"] = {"updates": [200] * SEEDS}
        loaded = self.load([case], {}).cases[0]
        for draw in (
            shape_figures.draw_images,
            shape_figures.draw_places,
            shape_figures.draw_saliency,
            shape_figures.draw_shape_measures,
        ):
            self.assertIsNone(draw(loaded))

    def test_images_are_chosen_so_that_all_places_show(self):
        self.assertEqual(shape_figures.varied(["a"] * 9 + ["b", "c"]), [0, 1, 2, 3, 4, 5, 9, 10])


class Sweeps(report_case.Small):
    def cases(self, **values):
        ((field, of_field),) = values.items()
        return self.of([make_case(f"{field}={value}", **{field: value})[0] for value in of_field])

    def of(self, made):
        result = synthetic_result.document(made, "stars_and_moons")
        return load_result(synthetic_result.write(self.folder, result, {})).cases

    def test_the_field_that_varies_is_found(self):
        self.assertEqual(shape_figures.swept(self.cases(bias=[1.0, 0.5])), ("bias", [1.0, 0.5], ["1", "0.5"]))
        depth = self.cases(hidden=["linear", "8", "8x8"])
        self.assertEqual(shape_figures.swept(depth), ("hidden layers", [0, 1, 2], ["0", "1", "2"]))
        width = self.cases(hidden=["8x8", "64x64"])
        self.assertEqual(shape_figures.swept(width), ("width", [8.0, 64.0], ["8", "64"]))
        lists = self.cases(hidden=["8x16", "8x64", "8x32"])
        self.assertEqual(shape_figures.swept(lists), ("hidden", [0, 1, 2], ["8x16", "8x64", "8x32"]))
        both = self.cases(hidden=["linear", "8", "64x64"])
        self.assertEqual(shape_figures.swept(both), ("hidden", [0, 1, 2], ["linear", "8", "64x64"]))
        self.assertIsNone(shape_figures.swept(self.cases(mask0=["star", "crescent"])))

    def test_places_and_inputs_that_follow_from_the_canvas_do_not_count(self):
        made = [make_case(canvas, canvas=canvas, inputs=inputs, biased0=places)[0]
                for canvas, inputs, places in (("40x40", 1600, "1:2:3:4"), ("20x30", 600, "1:2:1:2"))]
        self.assertEqual(shape_figures.swept(self.of(made)), ("canvas", [1600, 600], ["40x40", "20x30"]))

    def test_why_there_is_no_curve_is_said(self):
        made = [make_case(f"{bias} {scale}", bias=bias, scale=scale)[0] for bias in (1.0, 0.5) for scale in (1.0, 2.0)]
        for cases, why in (
            (self.of(made), ["No curve of accuracy against what varies: the cases differ in bias and scale."]),
            (self.cases(mask0=["star", "crescent"]),
             ["No curve of accuracy against what varies: the values of mask0 have no order."]),
            (self.cases(bias=[1.0, 0.5]), []),
            (self.cases(bias=[1.0]), []),
        ):
            self.assertEqual(shape_figures.no_sweep(cases), why)
        result = synthetic_result.document(made, "stars_and_moons")
        text = page.render(load_result(synthetic_result.write(self.folder, result, {})))
        self.assertIn("the cases differ in bias and scale", text)

    def test_curves_run_from_left_to_right(self):
        figure, caption = shape_figures.draw_sweep(self.cases(bias=[1.0, 0.0, 0.5]))
        self.assertEqual([text.get_text() for text in figure.axes[0].get_xticklabels()], ["0", "0.5", "1"])
        self.assertIn("against bias", caption)
        self.assertIsNone(shape_figures.draw_sweep(self.cases(bias=[1.0])))
        self.assertIn("sweep", [plate.key for plate in overview.overview_plates(self.cases(bias=[1.0, 0.5]))])


if __name__ == "__main__":
    unittest.main()
