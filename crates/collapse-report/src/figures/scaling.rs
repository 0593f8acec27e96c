//! Time of a training step against width, batch, threads and depth.

use super::Figure;
use super::scale::{Kind, Scale};
use super::svg::{COLORS, Canvas, Panel, WIDTH};
use crate::scaling::{Scaling, StepTime};

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

/// Points by network and number of threads: what has a colour of its own.
struct Series<'a> {
    points: &'a [StepTime],
    threads: Vec<usize>,
    nets: Vec<&'a str>,
}

impl<'a> Series<'a> {
    fn of(points: &'a [StepTime]) -> Self {
        Self {
            points,
            threads: distinct(points.iter().map(|p| p.threads)),
            nets: distinct(points.iter().map(|p| p.net.as_str())),
        }
    }

    fn index(&self, net: &str, threads: usize) -> usize {
        let place = |found: Option<usize>| found.unwrap_or(0);
        place(self.nets.iter().position(|other| *other == net)) * self.threads.len()
            + place(self.threads.iter().position(|other| *other == threads))
    }

    fn legend(&self) -> Vec<(usize, String)> {
        let measured = |net: &str, t: usize| {
            let mut points = self.points.iter();
            points.any(|p| p.net == net && p.threads == t)
        };
        let mut legend = Vec::new();
        for net in &self.nets {
            for &t in self.threads.iter().filter(|&&t| measured(net, t)) {
                let unit = if t == 1 { "thread" } else { "threads" };
                legend.push((self.index(net, t), format!("{net}, {t} {unit}")));
            }
        }
        legend
    }

    /// One line for each network and number of threads, of the points to be kept.
    fn lines(
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
            let line = self.index(&point.net, threads);
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

    /// The points that agree with the centre but for what runs along.
    fn sweeps(&self, centre: &StepTime) -> [Sweep<'a>; 3] {
        [
            Sweep {
                title: "Width",
                axis: "channels of the first stage",
                along: |p| p.width,
                lines: self.lines(|p| p.batch == centre.batch, |p| p.width, true),
            },
            Sweep {
                title: "Batch",
                axis: "images a step",
                along: |p| p.batch,
                lines: self.lines(|p| p.width == centre.width, |p| p.batch, true),
            },
            Sweep {
                title: "Threads",
                axis: "threads",
                along: |p| p.threads,
                lines: self.lines(
                    |p| p.width == centre.width && p.batch == centre.batch,
                    |p| p.threads,
                    false,
                ),
            },
        ]
    }
}

pub(crate) fn step_times(scaling: &Scaling) -> Option<Figure> {
    let centre = centre(&scaling.points)?;
    let series = Series::of(&scaling.points);
    let sweeps = series.sweeps(centre);
    let mut canvas = Canvas::default();
    let head = canvas.legend(0.0, &series.legend());
    let (height, gap) = (210.0, 26.0);
    let width = (WIDTH - 66.0 - 2.0 * gap - 14.0) / 3.0;
    let y = Scale::around(Kind::Log, scaling.points.iter().map(|p| p.median_s))?;
    for (index, sweep) in sweeps.iter().enumerate() {
        let x = Scale::around(
            Kind::LogTwo,
            sweep
                .lines
                .iter()
                .flat_map(|(_, members)| members.iter().map(|p| (sweep.along)(p) as f64)),
        )?;
        let panel = Panel {
            left: 66.0 + index as f64 * (width + gap),
            top: head + 28.0,
            width,
            height,
            x,
            y,
        };
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
            centre.batch,
            centre.width,
            scaling.caption()
        ),
        head + 28.0 + height + 48.0,
        canvas,
    ))
}
