//! Tables, figures, statistics over seeds, claim verdicts and the HTML report.
