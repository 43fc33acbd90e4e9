//! Draws charts: panels one below the other, each with areas on top of each other over the same time.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const PANEL_HEIGHT: f64 = 180.0;
/// Above each panel there is its title, below it the time.
const PANEL_TOP: f64 = 34.0;
const PANEL_BOTTOM: f64 = 26.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;

/// Told apart by everybody (Okabe and Ito).
pub(crate) const COLOURS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442",
];

/// One of them.
pub(crate) struct Panel {
    pub(crate) title: String,
    /// On top of each other, the first at the bottom.
    pub(crate) layers: Vec<Layer>,
    pub(crate) decimals: usize,
}

/// An area.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    /// As many as those of the others, at equal distances in time.
    pub(crate) values: Vec<f64>,
}

/// Draws them, for so many seconds from the left to the right.
pub(crate) fn draw(panels: &[Panel], seconds: u64) -> String {
    let mut height = 0.0;
    let mut body = String::new();
    for panel in panels {
        panel.draw(&mut body, height, seconds);
        height += PANEL_TOP + PANEL_HEIGHT + PANEL_BOTTOM;
    }
    format!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="12">"#,
            "\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n"
        ),
        WIDTH, height, body
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a picture has no room for the difference"
)]
pub(crate) fn double(number: u64) -> f64 {
    number as f64
}

impl Panel {
    fn draw(&self, body: &mut String, above: f64, seconds: u64) {
        let (top, bottom) = (above + PANEL_TOP, above + PANEL_TOP + PANEL_HEIGHT);
        let _ = writeln!(
            body,
            r#"<text x="{LEFT}" y="{}" font-weight="bold">{}</text>"#,
            above + 20.0,
            escape(&self.title)
        );
        let mut legend = LEFT + 140.0;
        for layer in &self.layers {
            let _ = writeln!(
                body,
                r#"<rect x="{legend}" y="{}" width="10" height="10" fill="{}"/><text x="{}" y="{}">{}</text>"#,
                above + 11.0,
                layer.colour,
                legend + 15.0,
                above + 20.0,
                escape(&layer.name)
            );
            legend += 40.0 + 8.0 * double(layer.name.chars().count() as u64);
        }
        let sums = self.sums();
        let most = sums.last().into_iter().flatten().copied().fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = (WIDTH - LEFT - RIGHT)
            / double(
                self.layers
                    .iter()
                    .map(|layer| layer.values.len() as u64)
                    .max()
                    .unwrap_or(1),
            );
        for (layer, sums) in self.layers.iter().zip(&sums).rev() {
            let _ = writeln!(
                body,
                r#"<path fill="{}" d="{}"/>"#,
                layer.colour,
                area(sums, bottom, step, PANEL_HEIGHT / most)
            );
        }
        for (value, at) in [
            (0.0, bottom),
            (most / 2.0, f64::midpoint(top, bottom)),
            (most, top),
        ] {
            let _ = writeln!(
                body,
                r##"<path stroke="#ccc" d="M{LEFT} {at}H{}"/><text x="{}" y="{}" text-anchor="end">{:.*}</text>"##,
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                if value.fract() == 0.0 {
                    0
                } else {
                    self.decimals.max(1)
                },
                value
            );
        }
        for part in 0..=4 {
            let x = LEFT + (WIDTH - LEFT - RIGHT) * double(part) / 4.0;
            let anchor = ["start", "middle", "middle", "middle", "end"][usize::try_from(part).unwrap_or(0)];
            let _ = writeln!(
                body,
                r#"<text x="{x}" y="{}" text-anchor="{anchor}">{}</text>"#,
                bottom + 16.0,
                time(seconds * part / 4)
            );
        }
    }

    /// The upper edge of each layer.
    fn sums(&self) -> Vec<Vec<f64>> {
        let mut sums: Vec<Vec<f64>> = Vec::new();
        for layer in &self.layers {
            let below = sums
                .last()
                .cloned()
                .unwrap_or_else(|| vec![0.0; layer.values.len()]);
            sums.push(
                layer
                    .values
                    .iter()
                    .zip(below)
                    .map(|(value, below)| value + below)
                    .collect(),
            );
        }
        sums
    }
}

/// Steps from the left to the right, one for each change; down to the bottom.
fn area(values: &[f64], bottom: f64, step: f64, scale: f64) -> String {
    let mut path = format!("M{LEFT} {bottom}");
    let mut before = 0.0;
    let mut x = LEFT;
    for value in values {
        let y = bottom - value * scale;
        // A tenth of a pixel is not seen.
        if (y - before).abs() > 0.1 {
            let _ = write!(path, "H{x:.1}V{y:.1}");
            before = y;
        }
        x += step;
    }
    let _ = write!(path, "H{x:.1}V{bottom}Z");
    path
}

/// Names are the user's.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// `1:02:03`, or `2:03`.
pub(crate) fn time(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 {
        format!("{minutes}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}
