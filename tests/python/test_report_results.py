"""tools/report: which measures the table of results lists, and what stands beside their means."""

import os
import re
import unittest
import warnings

import numpy as np

import report_case  # first: it puts the tools on the path
import synthetic_result
from report_lib import curve_figures, figures, model_figures, page, shape_figures, tables
from report_lib.loading import DETAILED_CASES, ReportError, load_result
from test_report_shapes import make_case as make_shapes

MEASURED = ["standard_auc", "standard_loss", "s_randomized_auc", "train_loss", "updates", "best_standard_loss"]
SHOWN = ["standard_auc", "s_randomized_auc", "train_loss", "updates"]


def make(name="LMS-5", seeds=3, metrics=MEASURED, **fields):
    case = {
        "name": name,
        "seeds": list(range(seeds)),
        "status": ["converged"] * seeds,
        "metrics": {metric: [0.5 + 0.1 * k for k in range(seeds)] for metric in metrics},
        "shown": SHOWN,
        "config": {"dim": 5, "optimizer": "sgd", "lr": 0.1},
        "published": {},
        "verdicts": {},
    }
    return {**case, **fields}


class Pictures(unittest.TestCase):
    def test_the_cases_with_figures_are_those_that_programs_picture(self):
        source = os.path.join(os.path.dirname(report_case.TOOLS), "src", "experiment", "measure.cpp")
        with open(source, encoding="utf-8") as file:
            pictured = re.findall(r"kPicturedCases = (\d+);", file.read())
        self.assertEqual(pictured, [str(DETAILED_CASES)])


class Made(report_case.Small):
    def load(self, *cases, experiment="extreme_slab", flags=""):
        document = synthetic_result.document(list(cases), experiment)
        document["provenance"]["command"] = f"{experiment} {flags}"
        return load_result(synthetic_result.write(self.folder, document))


class Results(Made):
    def listed(self, *cases):
        table = page.verdict_table(self.load(*cases).cases)
        return [[str(row["name"]) for row in group["rows"]] for group in table["groups"]]

    def test_the_measures_of_the_console_are_listed_in_its_order(self):
        self.assertEqual(self.load(make()).cases[0].shown, SHOWN)
        self.assertEqual(self.listed(make(shown=["updates", "standard_auc"])), [["updates", "standard AUC"]])

    def test_of_results_without_that_list_everything_is_listed(self):
        case = make(verdicts={"updates": "reproduced", "gone": "void"})
        del case["shown"]
        self.assertEqual(self.load(case).cases[0].shown, [*MEASURED, "gone"])

    def test_what_has_no_value_is_listed_too(self):
        case = make(shown=[*SHOWN, "gone"], verdicts={"gone": "insufficient"})
        (group,) = page.verdict_table(self.load(case).cases)["groups"]
        row = group["rows"][-1]
        self.assertEqual((row["name"], row["n"], row["verdict"]), ("gone", 0, "insufficient"))

    def test_images_list_their_own_test_sets(self):
        case, _ = make_shapes()
        case["config"]["optimizer"] = "adam"
        sets = [f"{of} accuracy" for of in ("iid", "uniform", "swapped", "conflict")]
        self.assertEqual(self.listed(case), [[*sets, "updates"]])
        columns = page.verdict_table(self.load(*({**case, "name": str(k)} for k in range(9))).cases)["names"]
        self.assertIn("swapped accuracy", columns)

    def test_a_case_without_survivors_says_so(self):
        lost = make("lr=9", status=["diverged"] * 3)
        result = self.load(lost, make("lr=1"))
        (gone, there) = page.verdict_table(result.cases)["groups"]
        self.assertEqual(len(gone["rows"]), len(there["rows"]))
        self.assertEqual({(row["value"], row["n"]) for row in gone["rows"]}, {("diverged", 0)})
        (bare,) = page.verdict_table(self.load({**lost, "metrics": {}, "shown": []}).cases)["groups"]
        self.assertEqual([(row["name"], row["value"]) for row in bare["rows"]], [("any measure", "diverged")])
        wide = page.verdict_table(self.load(*({**lost, "name": str(k)} for k in range(9))).cases)
        self.assertEqual(wide["rows"][3]["cells"][0]["value"], "diverged")

    def test_settings_that_are_not_the_published_ones_are_noted(self):
        judged = make("LMS-5 lr=0.1", verdicts={"standard_auc": "reproduced"}, protocol="published")
        changed = make("LMS-5 lr=0.3", protocol="changed")
        sentence = "settings differ from the published protocol: no published values, no verdicts."
        for cases, found in (
            ([judged], []),
            ([changed], ["S" + sentence[1:]]),
            ([judged, changed, make("sum", config={"cases": 2})], ["LMS-5 lr=0.3: " + sentence]),
            ([make()], []),
        ):
            self.assertEqual(page.remarks(self.load(*cases)), found)
        self.assertTrue("S" + sentence[1:] in page.render(self.load(changed)))

    def test_the_universal_perturbation_is_found_by_descent(self):
        for name in ("as_uap_accuracy", "as_uap_share"):
            self.assertTrue(tables.metric_name(name).endswith("by normalised gradient descent"))


class Products(Made):
    """Two seeds of the data times three initialisations."""

    SEEDS = {"data": [0, 0, 0, 1, 1, 1], "init": [0, 1, 2, 0, 1, 2], "order": [0] * 6}
    SHARES = {"standard_auc": {"data": 0.125, "init": 0.8, "rest": 0.075}}

    def product(self, name="LMS-5", **fields):
        fixed = {"member_seeds": self.SEEDS, "variance_shares": self.SHARES, "protocol": "published"}
        return make(name, 6, **{**fixed, **fields})

    def test_no_interval_is_printed(self):
        for cases in (1, 9):
            text = page.render(self.load(*(self.product(f"case {k}") for k in range(cases))))
            for words, there in (
                ("±", False),
                ("95% interval", False),
                ("6 seeds", False),
                ("0.7500 (0.5000 to 1.0000)", True),
                ("data 12.5%, init 80.0%, rest 7.5%", True),
                ("6 members, 2 data × 3 init seeds: 6 converged", True),
                ("Members share seeds: no verdicts", True),
            ):
                self.assertEqual(words in text, there, words)

    def test_seeds_that_run_along_are_one_factor(self):
        along = self.load(self.product(member_seeds={**self.SEEDS, "order": self.SEEDS["init"]})).cases[0]
        self.assertEqual(along.members(), "6 members, 2 data × 3 init+order seeds")
        # One kind of seed alone: nothing is crossed, and the members differ in all that varies.
        alone = self.load(self.product(member_seeds={"data": list(range(6)), "init": [0] * 6})).cases[0]
        self.assertEqual(alone.members(), "6 members, 6 data seeds")
        self.assertRegex(tables.measure_rows(alone, ["standard_auc"])[0]["value"], "^0.7500 ± ")

    def test_bars_are_the_range(self):
        interval = self.load(self.product()).cases[0].interval("standard_auc")
        self.assertEqual((interval.bounds, interval.bars), ((0.5, 1.0), (0.25, 0.25)))
        figure = page_figure(self.load(self.product()).cases[0], "measures")
        bars = figure.axes[0].containers[0].lines[2][0].get_segments()[0]
        np.testing.assert_allclose(bars[:, 1], [0.5, 1.0])

    def test_member_seeds_have_one_seed_a_member(self):
        for broken in ({"data": [0, 1]}, {"data": 3}, {"data": ["x"] * 6}):
            with self.assertRaisesRegex(ReportError, "member_seeds.data should be a list with one seed per member"):
                self.load(self.product(member_seeds=broken))


def page_figure(case, key):
    return next(plate.figure for plate in figures.case_plates(case)[0] if plate.key == key)


class Quiet(report_case.Small):
    """Ordinary results draw without a word of matplotlib's."""

    def setUp(self):
        super().setUp()
        caught = warnings.catch_warnings()
        caught.__enter__()
        self.addCleanup(caught.__exit__, None, None, None)
        warnings.simplefilter("error", UserWarning)

    def test_a_model_that_hardly_ever_says_the_other_class(self):
        for rare in (1, 0):
            arrays = dict(self.arrays)
            label = np.full_like(arrays["LMS-5/boundary/label"], 1 - rare)
            label[:3] = rare
            arrays["LMS-5/boundary/label"] = label
            figure, _ = model_figures.draw_boundary(self.load(arrays=arrays).cases[0])
            figure.canvas.draw()

    def test_one_seed_has_no_interval(self):
        document, arrays, _ = synthetic_result.make_result(seeds=1, dim=6, rows=300)
        for case in self.load(document, arrays).cases:
            for plate in figures.case_plates(case)[0]:
                plate.figure.canvas.draw()
            self.assertNotIn("thick", model_figures.draw_coordinates(case)[1])

    def test_an_image_without_its_shape(self):
        case, arrays = make_shapes()
        arrays["FCN/images/iid"][0] = 0
        result = synthetic_result.document([case], "stars_and_moons")
        loaded = load_result(synthetic_result.write(self.folder, result, arrays)).cases[0]
        figure, _ = shape_figures.draw_saliency(loaded)
        figure.canvas.draw()


class Scaling(report_case.Small):
    def scaling(self, rates):
        cases = []
        for dim in (20, 50, 100):
            for lr in rates:
                metrics = {"w2_over_w1": [lr / dim] * 2, "rest_over_w1": [lr / dim**0.5] * 2}
                config = {"dim": dim, "neurons": 100, "lr": lr}
                cases.append(make(f"LSN dim={dim} lr={lr}", 2, config=config) | {"metrics": metrics})
        document = synthetic_result.document(cases, "theorem_lsn")
        return curve_figures.draw_scaling(load_result(synthetic_result.write(self.folder, document)).cases)

    def test_there_is_one_line_for_each_setting_of_the_other_axes(self):
        figure, caption = self.scaling([0.1, 0.2])
        curves = figure.axes[0].containers
        self.assertEqual(len(curves), 4)
        for curve, lr in zip(curves, (0.1, 0.2)):
            self.assertEqual(list(curve.lines[0].get_xdata()), [20, 50, 100])
            np.testing.assert_allclose(list(curve.lines[0].get_ydata()), [lr / 20, lr / 50, lr / 100])
        labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        self.assertEqual(labels[:2], ["|w2| / |w1|, lr=0.1", "|w2| / |w1|, lr=0.2"])
        self.assertIn("One line for each of 2 settings", caption)
        self.assertNotIn("slopes", caption)  # there are none

    def test_many_settings_are_not_named(self):
        figure, _ = self.scaling([0.1, 0.2, 0.3, 0.4, 0.5])
        self.assertEqual(len(figure.axes[0].containers), 10)
        self.assertEqual(len(figure.axes[0].get_legend().get_texts()), 2)


if __name__ == "__main__":
    unittest.main()
