//! Time of a training step against width, batch, threads and depth.

use super::Figure;
use super::layout::Grid;
use super::scale::{Kind, Scale};
use super::svg::{COLORS, Canvas, WIDTH};
use crate::scaling::{Scaling, StepTime};

impl Scaling {
    /// The figure as a file of its own; `None` without points.
    pub fn figure(&self) -> Option<String> {
        step_times(self).map(|figure| figure.standalone())
    }
}

/// A panel: its title, the label of its axis, what runs along it, and the lines in it.
struct Sweep<'a> {
    title: &'static str,
    axis: &'static str,
    along: fn(&StepTime) -> usize,
    lines: Vec<(usize, Vec<&'a StepTime>)>,
}

/// The point that most others differ from in one thing only: the widest first network at its most frequent batch.
fn centre(points: &[StepTime]) -> Option<&StepTime> {
    let neighbours = |point: &StepTime| {
        points
            .iter()
            .filter(|p| {
                let same = [
                    p.net == point.net,
                    p.width == point.width,
                    p.batch == point.batch,
                    p.threads == point.threads,
                ];
                same.iter().filter(|same| !**same).count() == 1
            })
            .count()
    };
    points.iter().max_by_key(|p| (neighbours(p), p.threads))
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// The lines of a scaling file: one for each network and number of threads.
struct Lines<'a> {
    points: &'a [StepTime],
    centre: &'a StepTime,
    threads: Vec<usize>,
    nets: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    /// `None` without points.
    fn of(points: &'a [StepTime]) -> Option<Self> {
        Some(Self {
            points,
            centre: centre(points)?,
            threads: distinct(points.iter().map(|p| p.threads)),
            nets: distinct(points.iter().map(|p| p.net.as_str())),
        })
    }

    fn series(&self, net: &str, threads: usize) -> usize {
        let net = self.nets.iter().position(|other| *other == net);
        let threads = self.threads.iter().position(|other| *other == threads);
        net.unwrap_or(0) * self.threads.len() + threads.unwrap_or(0)
    }

    /// One line for each network, and where `by_thread` each number of threads, of the points that `keep` takes.
    fn along(
        &self,
        keep: impl Fn(&StepTime) -> bool,
        along: fn(&StepTime) -> usize,
        by_thread: bool,
    ) -> Vec<(usize, Vec<&'a StepTime>)> {
        let mut lines: Vec<(usize, Vec<&StepTime>)> = Vec::new();
        for point in self.points.iter().filter(|p| keep(p)) {
            let threads = if by_thread {
                point.threads
            } else {
                self.threads[0]
            };
            let line = self.series(&point.net, threads);
            match lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, members)) => members.push(point),
                None => lines.push((line, vec![point])),
            }
        }
        for (_, members) in &mut lines {
            members.sort_by_key(|p| along(p));
        }
        lines
    }

    /// What runs along width, batch and threads, all else as at the centre.
    fn sweeps(&self) -> [Sweep<'a>; 3] {
        let centre = self.centre;
        let same_width = |p: &StepTime| p.width == centre.width;
        let same_batch = |p: &StepTime| p.batch == centre.batch;
        [
            Sweep {
                title: "Width",
                axis: "channels of the first stage",
                along: |p| p.width,
                lines: self.along(same_batch, |p| p.width, true),
            },
            Sweep {
                title: "Batch",
                axis: "images a step",
                along: |p| p.batch,
                lines: self.along(same_width, |p| p.batch, true),
            },
            Sweep {
                title: "Threads",
                axis: "threads",
                along: |p| p.threads,
                lines: self.along(|p| same_width(p) && same_batch(p), |p| p.threads, false),
            },
        ]
    }

    fn legend(&self) -> Vec<(usize, String)> {
        let of_net = |net: &&'a str| {
            let net = *net;
            let measured = self.threads.iter().filter(move |t| {
                let mut points = self.points.iter();
                points.any(|p| p.net == net && p.threads == **t)
            });
            measured.map(move |t| {
                let unit = if *t == 1 { "thread" } else { "threads" };
                (self.series(net, *t), format!("{net}, {t} {unit}"))
            })
        };
        self.nets.iter().flat_map(of_net).collect()
    }
}

fn step_times(scaling: &Scaling) -> Option<Figure> {
    let lines = Lines::of(&scaling.points)?;
    let mut canvas = Canvas::default();
    let gap = 26.0;
    let grid = Grid {
        columns: 3,
        origin: (66.0, canvas.legend(0.0, &lines.legend()) + 28.0),
        size: ((WIDTH - 66.0 - 2.0 * gap - 14.0) / 3.0, 210.0),
        gap: (gap, 48.0),
    };
    let y = Scale::around(Kind::Log, scaling.points.iter().map(|p| p.median_s))?;
    for (index, sweep) in lines.sweeps().iter().enumerate() {
        let members = sweep.lines.iter().flat_map(|(_, members)| members);
        let x = Scale::around(Kind::LogTwo, members.map(|p| (sweep.along)(p) as f64))?;
        let panel = grid.panel(index, x, y);
        let label = if index == 0 { "seconds a step" } else { "" };
        canvas.frame(&panel, sweep.title, sweep.axis, label);
        for (line, members) in &sweep.lines {
            let at = |p: &StepTime| panel.at((sweep.along)(p) as f64, p.median_s);
            let path: Vec<(f64, f64)> = members.iter().map(|p| at(p)).collect();
            canvas.path(&path, &format!("mean s{}", line % COLORS));
            for point in members {
                canvas.marker(*line, at(point), 4.0, &format!("{:.3} s", point.median_s));
            }
        }
    }
    Some(Figure::new(
        "scaling",
        "Time of a training step",
        format!(
            "Logarithmic axes. Width at batch {}, batch at width {}, threads at both. {}",
            lines.centre.batch,
            lines.centre.width,
            scaling.caption()
        ),
        grid.end(3),
        canvas,
    ))
}
