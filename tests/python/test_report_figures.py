"""tools/report: what its figures and tables show, computed on small results whose answers are known."""

import dataclasses
import re
import tempfile
import unittest

import numpy as np

import report_case  # first: it puts the tools on the path
import synthetic_result
from report_lib import figures, model_figures, overview, page, statistics, style, tables
from report_lib.coordinates import coordinate_kinds, shown_coordinates
from report_lib.loading import load_result
from report_lib.seed_figures import strip_columns, strip_limits


class Statistics(unittest.TestCase):
    def test_t_quantiles_are_those_of_the_tables(self):
        for degrees, expected in ((1, 12.7062047), (4, 2.7764451), (19, 2.0930241), (999, 1.9623415)):
            self.assertAlmostEqual(statistics.t_quantile(0.975, degrees), expected, places=6)
        self.assertAlmostEqual(statistics.t_cdf(-2.0930241, 19), 0.025, places=8)

    def test_interval_leaves_out_members_without_a_value(self):
        interval = statistics.mean_interval([1, 2, np.nan, 3, 4])
        self.assertEqual((interval.n, interval.mean, interval.low, interval.high), (4, 2.5, 1, 4))
        self.assertAlmostEqual(interval.half_width, 3.1824463 * np.std([1, 2, 3, 4], ddof=1) / 2, places=6)
        self.assertTrue(np.isnan(statistics.mean_interval([0.5]).half_width))
        self.assertIsNone(statistics.mean_interval([np.nan]))
        self.assertEqual(statistics.mean_interval([0.1] * 3).mean, 0.1)

    def test_histograms_share_their_edges_and_count_class_1_alone(self):
        scores = {
            "standard": [[1.0, 2.0, -9.0], [3.0, 4.0, -9.0]],
            "s_randomized": [[0.0, 10.0, 99.0], [5.0, 5.0, 99.0]],
        }
        labels = [[1, 1, 0], [1, 1, 0]]
        histogram = statistics.score_histograms(scores, labels)
        np.testing.assert_allclose(histogram.edges, np.linspace(0, 10, 21))
        self.assertEqual((histogram.members, histogram.rows), (2, 4))
        for density in histogram.density.values():
            self.assertAlmostEqual(float(density.sum() * 0.5), 1.0)
        self.assertEqual(histogram.density["standard"][4], 0.25 / 0.5)  # 2.0 opens the bin [2, 2.5)
        self.assertEqual((histogram.low["standard"][4], histogram.high["standard"][4]), (0.0, 1.0))
        self.assertIsNone(statistics.score_histograms(scores, np.zeros((2, 3))))

    def test_stops_are_counted_by_value_and_by_how_members_ended(self):
        places, counts, exact = statistics.stop_frequencies(
            [5001, 10001, 5001, np.nan, 1], ["converged", "limit", "converged", "diverged", "diverged"]
        )
        self.assertTrue(exact)
        self.assertEqual(places.tolist(), [1, 5001, 10001])
        self.assertEqual(
            {word: values.tolist() for word, values in counts.items()},
            {"converged": [0, 2, 0], "limit": [0, 0, 1], "diverged": [1, 0, 0]},
        )
        edges, counts, exact = statistics.stop_frequencies(np.arange(100.0), [])
        self.assertFalse(exact)
        self.assertEqual((len(edges), counts["recorded"].tolist()), (21, [5] * 20))
        self.assertIsNone(statistics.stop_frequencies([np.nan], ["diverged"]))

    def test_band_holds_a_stopped_member_at_its_last_value(self):
        updates = [[1, 11, -1], [1, 21, 31], [1, 11, 31]]
        values = [[0.0, 1.0, np.nan], [0.0, 2.0, 2.0], [0.0, 3.0, 5.0]]
        band = statistics.curve_band(updates, values)
        self.assertEqual(band.updates.tolist(), [1, 11, 21, 31])
        # At 11 the second member is halfway between its checks at 1 and 21; at 31 the first has stopped.
        self.assertEqual(band.median.tolist(), [0.0, 1.0, 2.0, 2.0])
        np.testing.assert_allclose(band.low, [0, 1, 1.1, 1.1])
        np.testing.assert_allclose(band.high[-1], np.percentile([1, 2, 5], 95))
        self.assertIsNone(statistics.curve_band([[-1]], [[np.nan]]))

    def test_boundary_grid_gives_the_share_of_each_class(self):
        a, b = (values.ravel() for values in np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64)))
        edges, _, classes, share = statistics.boundary_grid(a, b, (a > 0).astype(int), per_cell=16)
        self.assertEqual((len(edges), classes.tolist(), share.shape), (17, [0, 1], (2, 16, 16)))
        self.assertTrue((share[1][:, :8] == 0).all() and (share[1][:, 8:] == 1).all())
        apart = statistics.boundary_grid(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0, 1]))[3]
        self.assertEqual(int(np.isfinite(apart[0]).sum()), 2)
        filled = statistics.smoothed([[1.0, np.nan], [np.nan, 0.0]])
        np.testing.assert_allclose(filled, [[0.5, 0.5], [0.5, 0.5]])

    def test_swarm_keeps_near_points_apart(self):
        values = np.array([0.5, 0.5, 0.5, 0.9])
        offsets = statistics.swarm_offsets(values, span=1.0)
        self.assertEqual(len(set(offsets[:3].tolist())), 3)
        self.assertEqual(offsets[3], 0.0)
        self.assertLessEqual(
            np.abs(statistics.swarm_offsets(np.full(500, 0.5), span=1.0)).max(), 0.35 + 1e-12
        )

    def test_coordinates_are_summarised_over_seeds(self):
        mean, half_width, low, high = statistics.coordinate_summary([[0.4, 1.0], [0.6, 1.0], [np.nan, 1.0]])
        self.assertEqual((mean.tolist(), low.tolist(), high.tolist()), ([0.5, 1.0], [0.4, 1.0], [0.6, 1.0]))
        self.assertEqual(half_width[1], 0.0)
        self.assertAlmostEqual(half_width[0], 12.7062047 * 0.1, places=5)


class Tables(report_case.Small):
    def test_numbers_have_the_digits_their_interval_allows(self):
        for values, expected in (
            ([0.5, 0.5044], "0.5022 ± 0.0280"),
            ([1.0, 1.0], "1.0000 ± 0.0000"),
            ([16000], "16,000"),
            ([5001, 5001], "5,001 ± 0"),
            ([240.5, 260.5], "250 ± 127"),
            ([0.00012], "0.00012"),
            ([0.999999, 0.9999995], "1.0000 ± 0.0000"),
        ):
            self.assertEqual(tables.format_interval(statistics.mean_interval(values)), expected)
        self.assertEqual(tables.format_interval(None), "–")
        self.assertEqual(
            [tables.format_published(value) for value in (5001, 1.0, 0.507, [101, 151], None, {"1": 2})],
            ["5,001", "1.0", "0.507", "101, 151", "–", "–"],
        )

    def test_settings_are_one_line(self):
        blocks = [{"kind": "linear"}] + [{"kind": "slab5"}] * 49
        self.assertEqual(tables.format_setting(blocks), "{kind linear}, 49 × {kind slab5}")
        self.assertEqual(tables.format_setting([]), "[]")
        self.assertEqual(
            tables.flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}), {"a.b": 1, "a.c.d": [2], "e": {}}
        )

    def test_verdicts_have_kinds(self):
        for text, kind in (
            ("reproduced", "good"),
            ("not reproduced", "bad"),
            ("insufficient", "open"),
            ("void", "open"),
            ("shown", "other"),
        ):
            self.assertEqual(tables.verdict_kind(text), kind)

    def test_compared_measures_come_with_interval_published_and_verdict(self):
        case = self.load().cases[1]
        names = case.shown
        self.assertEqual(set(case.verdicts) - set(names), set())
        row = tables.measure_rows(case, names)[names.index("updates")]
        self.assertEqual((row["n"], row["total"], row["published"], row["kind"]), (4, 5, "16,000", "bad"))

    def test_configurations_are_split_into_common_and_varying(self):
        common, (fields, rows) = tables.config_tables(self.load().cases)
        self.assertIn(("lr", "0.1"), common)
        self.assertEqual(fields, ["linear", "slabs5", "slabs7"])
        self.assertEqual(rows, [("LMS-5", ["1", "5", "0"]), ("MS-(5,7)", ["0", "1", "5"])])

    def test_names_of_measures(self):
        self.assertEqual(
            tables.metric_name("sc_randomized_auc"), "<i>S</i><sup><i>c</i></sup>-randomised AUC"
        )
        self.assertEqual(tables.metric_name("best_train_loss"), "train loss, best model")
        self.assertEqual(tables.metric_name("best_at_update"), "update of the best model")
        self.assertEqual(tables.metric_name("<b>_loss"), "&lt;b&gt; loss")
        for name, text in (
            ("standard_auc_5", "standard AUC, of 5 networks"),
            ("standard_auc_mlp", "standard AUC, by an MLP combiner"),
            ("s_randomized_auc_10_softmax", "<i>S</i>-randomised AUC, of 10 networks by the mean of probabilities"),
            ("networks_standard_auc", "standard AUC, mean of the networks"),
            ("unknown_measure_5", "unknown measure 5"),
        ):
            self.assertEqual(tables.metric_name(name), text)

    def test_timing_tells_seconds_from_updates(self):
        self.assertEqual(
            tables.timing_rows({"train": 2.5, "updates": 5001, "cases": {"LMS-5": {"data": 1}}}),
            [("time, train", "2.50 s"), ("updates", "5,001"), ("time, cases, LMS-5, data", "1.00 s")],
        )


class Figures(report_case.Small):
    def drawn(self, case):
        plates, notes = figures.case_plates(case)
        return {plate.key: plate for plate in plates}, notes

    def test_every_figure_is_drawn_and_says_n(self):
        plates, notes = self.drawn(self.load().cases[0])
        # Those of other experiments: test_report_curves.py, test_report_shapes.py.
        others = ("votes", "identities", "images", "places", "saliency", "test-sets")
        self.assertEqual(list(plates), [key for key, *_ in figures.FIGURES if key not in others])
        self.assertEqual(notes, [])
        for key, text in (
            ("data", "300 test rows"),
            ("decision-boundary", "60,000 points"),
            ("scores", "20 common bins"),
            ("measures", "n = 5"),
            ("training", "5 seeds"),
            ("stops", "5 seeds"),
            ("coordinates", "6 coord"),
            ("alignment", "100 units, 3 members"),
            ("perturbations", "300 moved rows"),
            ("universal", "3 members"),
        ):
            self.assertIn(text, plates[key].caption)

    def test_figures_show_what_was_measured(self):
        result = self.load()
        plates, _ = self.drawn(result.cases[1])
        bars = plates["stops"].figure.axes[0].patches
        # 11,000 and 21,000 once, 16,000 twice, and the member that diverged after one update.
        self.assertEqual(sum(bar.get_height() for bar in bars), 5)
        self.assertEqual(sorted(bar.get_height() for bar in bars if bar.get_height()), [1, 1, 1, 2])
        points = [
            len(c.get_offsets())
            for c in plates["coordinates"].figure.axes[0].collections
            if c.get_offsets().size > 2
        ]
        self.assertEqual(max(points), 5)
        strip = plates["measures"].figure.axes[1]
        self.assertEqual(len(strip.collections[0].get_offsets()), 4)
        self.assertIn(0.502, [line.get_ydata()[0] for line in strip.lines])
        band = next(patch for patch in strip.patches if hasattr(patch, "get_xy"))
        np.testing.assert_allclose((band.get_xy()[:, 1].min(), band.get_xy()[:, 1].max()), (0.49, 0.51))
        accuracy = plates["training"].figure.axes[0]
        median = next(line for line in accuracy.lines if line.get_label() == "test")
        case = result.cases[1]
        alive = [m for m, word in enumerate(case.status) if word != "diverged"]
        final = np.median(
            [[v for v in case.arrays["history/test_accuracy"][m] if np.isfinite(v)][-1] for m in alive]
        )
        self.assertAlmostEqual(median.get_ydata()[-1], final)
        data = plates["data"].figure.axes
        self.assertEqual(
            [(axis.get_xlabel(), axis.get_ylabel()) for axis in data],
            [
                ("coordinate 0 (5-slab)", "coordinate 1 (7-slab)"),
                ("coordinate 2 (7-slab)", "coordinate 1 (7-slab)"),
            ],
        )

    def test_each_array_may_be_missing(self):
        draw = {key: function for key, function, *_ in figures.FIGURES}
        case = self.load().cases[0]
        for left_out, lost in (
            ("sample/x", "data"),
            ("boundary/label", "decision-boundary"),
            ("scores/labels", "scores"),
            ("history/updates", "training"),
            ("per_coordinate_accuracy", "coordinates"),
            ("alignment/norm", "alignment"),
        ):
            kept = {key: value for key, value in case.arrays.items() if key != left_out}
            self.assertIsNotNone(draw[lost](case))
            self.assertIsNone(draw[lost](dataclasses.replace(case, arrays=kept)))
        few = {
            key: case.arrays[key]
            for key in (
                "boundary/a",
                "boundary/b",
                "boundary/label",
                "history/updates",
                "history/train_loss",
                "scores/labels",
                "scores/standard",
            )
        }
        plates, notes = self.drawn(dataclasses.replace(case, arrays=few))
        self.assertEqual(list(plates), ["decision-boundary", "scores", "measures", "training", "stops"])
        self.assertEqual([note.split(":")[0] for note in notes], ["data", "coordinates", "alignment"])

    def test_the_band_holds_19_in_20_random_directions(self):
        self.assertAlmostEqual(model_figures.cosine_band(2), np.sin(0.95 * np.pi / 2), places=5)
        self.assertAlmostEqual(model_figures.cosine_band(3), 0.95, places=5)
        five = model_figures.cosine_band(5)
        self.assertAlmostEqual((3 * five - five**3) / 2, 0.95, places=5)
        self.assertAlmostEqual(model_figures.cosine_band(40_000) * 200, 1.96, places=3)

    def test_weights_beyond_all_numbers_leave_the_others_norms(self):
        draw = {key: function for key, function, *_ in figures.FIGURES}["alignment"]
        case = self.load().cases[0]
        norm = case.arrays["alignment/norm"].copy()
        norm.flat[0] = np.inf
        arrays = {**case.arrays, "alignment/norm": norm}
        figure, _ = draw(dataclasses.replace(case, arrays=arrays))
        self.assertAlmostEqual(figure.axes[0].get_ylim()[1], 1.08 * norm[np.isfinite(norm)].max(), places=4)

    def test_the_other_model_is_shown_where_it_differs(self):
        document = self.copy()
        metrics = document["cases"][0]["metrics"]
        metrics["best_standard_auc"] = metrics["standard_auc"]
        metrics["best_s_randomized_auc"] = [value + 0.001 for value in metrics["s_randomized_auc"]]
        case = self.load(document).cases[0]
        self.assertEqual([word for word, _ in strip_columns(case, "standard_auc")], [""])
        self.assertEqual([word for word, _ in strip_columns(case, "s_randomized_auc")], ["last", "best"])
        self.assertIn("hollow: the best model", self.drawn(case)[0]["measures"].caption)

    def test_limits_of_a_strip(self):
        self.assertEqual(strip_limits(np.array([1.0, 1.0])), (0.99, 1.0012))
        low, high = strip_limits(np.array([0.48, 0.52]))
        self.assertTrue(low < 0.48 and 0.52 < high < 0.53)

    def test_coordinates_know_their_blocks(self):
        self.assertEqual(
            coordinate_kinds({"linear": 1, "slabs3": 0, "slabs5": 1, "slabs7": 1}, 4),
            ["linear", "5-slab", "7-slab", "unused"],
        )
        self.assertEqual(
            coordinate_kinds({"linear": 1, "slabs5": 2, "linear_position": 2}, 3),
            ["5-slab", "5-slab", "linear"],
        )
        self.assertEqual(coordinate_kinds({"data": {"coordinates": [{"kind": "slab7"}]}}, 1), ["7-slab"])
        self.assertEqual(coordinate_kinds({}, 2), [None, None])
        self.assertEqual(shown_coordinates({"simple": [2]}, 4), (2, 0, 1))
        self.assertEqual(shown_coordinates({}, 2), (0, 1, None))


class Sweeps(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        style.apply_settings()
        folder = tempfile.TemporaryDirectory(prefix="occam-report-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = synthetic_result.write(
            folder.name, *synthetic_result.make_sweep(seeds=3, dim=4, rows=80)
        )
        cls.result = load_result(cls.folder)

    def test_settings_that_vary_are_found(self):
        settings = overview.varying_settings(self.result.cases)
        self.assertEqual([setting.label for setting in settings], ["activation", "lr", "batch"])
        self.assertEqual(settings[1].values[:4], [0.01, 0.03, 0.1, 0.3])
        self.assertEqual(
            [sorted(map(len, overview.line_groups(settings, k))) for k in range(3)],
            [[2] * 8, [4] * 4, [2] * 8],
        )

    def test_of_many_levels_some_are_named(self):
        case = self.result.cases[0]
        cases = [
            dataclasses.replace(case, name=f"case {k}", config={**case.config, "lr": 0.01 * (k + 1)})
            for k in range(100)
        ]
        plates = {plate.key: plate for plate in overview.overview_plates(cases)}
        axis = plates["settings"].figure.axes[-1]
        named = [label.get_text() for label in axis.get_xticklabels()]
        self.assertEqual(named[:3], ["0.01", "0.06", "0.11"])
        self.assertEqual(len(named), 20)
        self.assertGreater(axis.get_xlim()[1], np.log10(1.0))  # the last level is not cut off

    def test_positions_are_logarithmic_linear_or_by_category(self):
        place, ticks, labels = overview.positions(overview.Setting("lr", [0.1, 0.01, 1.0]))
        np.testing.assert_allclose(place, [-1, -2, 0])
        self.assertEqual(labels, ["0.01", "0.1", "1"])
        self.assertEqual(overview.positions(overview.Setting("d", [10.0, 20.0, 50.0]))[1], [10, 20, 50])
        self.assertEqual(
            overview.positions(overview.Setting("wd", [0.0, 5e-5, 5e-4]))[1:],
            ([0, 1, 2], ["0", "5e-05", "0.0005"]),
        )
        self.assertEqual(overview.positions(overview.Setting("net", ["b", "a", "b"]))[0].tolist(), [0, 1, 0])

    def test_settings_that_vary_together_are_one(self):
        cases = [
            type("Case", (), {"config": config})
            for config in (
                {"linear": 1, "slabs5": 9, "seed": 1, "lr": 1},
                {"linear": 0, "slabs5": 10, "seed": 2, "lr": 1},
                {"linear": 1, "slabs5": 9, "seed": 3, "lr": 2},
            )
        ]
        settings = overview.varying_settings(cases)
        self.assertEqual(
            [(s.label, s.values) for s in settings],
            [("linear / slabs5", ["1 / 9", "0 / 10", "1 / 9"]), ("lr", [1.0, 1.0, 2.0])],
        )

    def test_overview_shows_every_case(self):
        forest, settings = overview.overview_plates(self.result.cases)
        labels = [label.get_text() for label in forest.figure.axes[0].get_yticklabels()]
        self.assertEqual(labels, [case.name for case in self.result.cases])
        self.assertEqual(len(settings.figure.axes), 4 * 3)
        self.assertEqual(overview.overview_plates(self.result.cases[:2]), [])

    def test_page_caps_the_detailed_figures_and_says_so(self):
        self.assertEqual([case.arrays != {} for case in self.result.cases], [True] * 8 + [False] * 8)
        bare = [dataclasses.replace(case, arrays={}) for case in self.result.cases]
        text = page.render(dataclasses.replace(self.result, cases=bare))
        self.assertEqual(len(re.findall(r'<section class="card" id="case-', text)), 8)
        self.assertIn("Figures of their own have the first 8 of 16 cases", text)
        self.assertEqual(len(re.findall(r'<td class="name">3 converged</td>', text)), 16)


if __name__ == "__main__":
    unittest.main()
