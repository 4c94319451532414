"""The report of a run: loading, statistics, figures and the page. Used by tools/report and its tests."""
