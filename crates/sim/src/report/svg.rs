//! Pictures as SVG text: shapes, axes and legends, without a crate for it (steps III to V).
//!
//! Light background, no font that a machine may lack, and the palette of Okabe and Ito, whose colours people of every colour vision tell
//! apart. What a picture says by colour it says by a word too.

use std::fmt::Write;

/// Text and axes.
pub const INK: &str = "#222222";
/// What may be overlooked.
pub const FAINT: &str = "#d9d9d9";
/// Labels of axes and notes.
pub const GREY: &str = "#5f5f5f";
/// Colours of series, in the order in which they are taken.
pub const PALETTE: [&str; 6] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

const FONT: &str = "Helvetica, Arial, 'DejaVu Sans', sans-serif";
/// Height of ordinary text, in pixels.
pub const TEXT_PX: f64 = 13.0;
/// Mean width of a letter as a part of its height: wide enough that estimated labels never touch.
const LETTER: f64 = 0.58;

/// Which end of a text its place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// A picture under way.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty picture of this size in pixels, with a title and a line of explanation below it.
    pub fn new(width: f64, height: f64, title: &str, explanation: &str) -> Self {
        let mut svg = Self { width, height, body: String::new() };
        svg.rect(0.0, 0.0, width, height, "fill=\"#ffffff\"");
        svg.styled_text(
            24.0,
            32.0,
            Anchor::Start,
            &format!("font-size=\"18\" font-weight=\"bold\" fill=\"{INK}\""),
            title,
        );
        svg.text(24.0, 53.0, Anchor::Start, GREY, explanation);
        svg
    }

    /// A rectangle; `style` is attributes.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, style: &str) {
        let (x, y, width, height) = (px(x), px(y), px(width.max(0.0)), px(height.max(0.0)));
        self.add(&format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {style}/>"));
    }

    /// A straight line.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
        let (x1, y1, x2, y2) = (px(x1), px(y1), px(x2), px(y2));
        self.add(&format!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {style}/>"));
    }

    /// A path of commands made elsewhere.
    pub fn path(&mut self, commands: &str, style: &str) {
        if !commands.is_empty() {
            self.add(&format!("<path d=\"{commands}\" {style}/>"));
        }
    }

    /// A line through points.
    pub fn polyline(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", px(*x), px(*y))).collect();
        self.add(&format!("<polyline points=\"{}\" fill=\"none\" {style}/>", points.join(" ")));
    }

    /// An area with these corners.
    pub fn polygon(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", px(*x), px(*y))).collect();
        self.add(&format!("<polygon points=\"{}\" {style}/>", points.join(" ")));
    }

    /// A small shape, one of six by its number, so that points are told apart without their colour too.
    pub fn marker(&mut self, shape: usize, (x, y): (f64, f64), style: &str) {
        let corners: &[(f64, f64)] = match shape % 6 {
            0 => {
                self.add(&format!("<circle cx=\"{}\" cy=\"{}\" r=\"5\" {style}/>", px(x), px(y)));
                return;
            }
            1 => &[(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)],
            2 => &[(0.0, -6.5), (6.5, 0.0), (0.0, 6.5), (-6.5, 0.0)],
            3 => &[(0.0, -6.0), (6.0, 5.0), (-6.0, 5.0)],
            4 => &[(0.0, 6.0), (6.0, -5.0), (-6.0, -5.0)],
            _ => &[(-6.0, -3.0), (6.0, -3.0), (6.0, 3.0), (-6.0, 3.0)],
        };
        self.polygon(&corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>(), style);
    }

    /// Text of ordinary size.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, colour: &str, text: &str) {
        self.styled_text(x, y, anchor, &format!("font-size=\"{TEXT_PX}\" fill=\"{colour}\""), text);
    }

    /// Text that reads upwards, centred at its place.
    pub fn upright_text(&mut self, x: f64, y: f64, text: &str) {
        let style = format!("font-size=\"{TEXT_PX}\" fill=\"{GREY}\" transform=\"rotate(-90 {} {})\"", px(x), px(y));
        self.styled_text(x, y, Anchor::Middle, &style, text);
    }

    fn styled_text(&mut self, x: f64, y: f64, anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, text) = (px(x), px(y), escape(text));
        self.add(&format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" {style}>{text}</text>"));
    }

    /// A row of entries from `x` on: a swatch, drawn by attributes, and a word. Entries that do not fit go to a further row.
    pub fn legend(&mut self, x: f64, y: f64, entries: &[(String, String)]) {
        let (mut at, mut row) = (x, y);
        for (style, word) in entries {
            let width = 24.0 + text_width(word) + 18.0;
            if at > x && at + width > self.width {
                (at, row) = (x, row + 20.0);
            }
            self.rect(at, row - 10.0, 18.0, 11.0, style);
            self.text(at + 24.0, row, Anchor::Start, INK, word);
            at += width;
        }
    }

    /// The whole document.
    pub fn finish(self) -> String {
        let (width, height) = (px(self.width), px(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"{FONT}\">\n{}</svg>\n",
            self.body
        )
    }

    fn add(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }
}

/// One direction of a picture: values from 0 or, on a logarithmic one, from `least` to `max`, on pixels from `from_px` to `to_px`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The greatest value shown.
    pub max: f64,
    step: f64,
    least: Option<f64>,
    from_px: f64,
    to_px: f64,
}

impl Axis {
    /// An axis that ends at the first tick at or after `greatest`, with about `ticks` ticks.
    pub fn up_to(greatest: f64, ticks: u32, from_px: f64, to_px: f64) -> Self {
        let axis = Self::exactly(greatest, ticks, from_px, to_px);
        Self { max: (axis.max / axis.step - 1e-9).ceil() * axis.step, ..axis }
    }

    /// An axis that ends at `greatest` itself.
    pub fn exactly(greatest: f64, ticks: u32, from_px: f64, to_px: f64) -> Self {
        let max = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
        Self { max, step: nice_step(max / f64::from(ticks.max(1))), least: None, from_px, to_px }
    }

    /// A logarithmic axis whose ends are the ticks around these values, for what spans decades. Both are to be positive; the step is
    /// that of its least tick.
    pub fn logarithmic(least: f64, greatest: f64, from_px: f64, to_px: f64) -> Self {
        let is_usable = |value: f64| value.is_finite() && value > 0.0;
        let (least, greatest) = if is_usable(least) && greatest >= least { (least, greatest) } else { (1.0, 10.0) };
        let floor = log_ticks(least / 5.0, least).last().copied().unwrap_or(least);
        let max = log_ticks(greatest, greatest * 5.0).first().copied().unwrap_or(greatest).max(floor * 2.0);
        Self { max, step: floor, least: Some(floor), from_px, to_px }
    }

    /// Where a value is, in pixels. What is beyond the axis is at its end.
    pub fn at(&self, value: f64) -> f64 {
        let part = match self.least {
            Some(least) => libm::log(value.max(least) / least) / libm::log(self.max / least),
            None => value / self.max,
        };
        self.from_px + (self.to_px - self.from_px) * part.clamp(0.0, 1.0)
    }

    /// The values that have a tick.
    pub fn ticks(&self) -> Vec<f64> {
        if let Some(least) = self.least {
            return log_ticks(least, self.max);
        }
        let count = (self.max / self.step + 1e-9).floor() as u32;
        (0..=count.min(100)).map(|tick| f64::from(tick) * self.step).collect()
    }

    /// A tick's value in words.
    pub fn word(&self, value: f64) -> String {
        let digits = if self.step >= 1.0 {
            0
        } else if self.step >= 0.1 {
            1
        } else {
            2
        };
        thousands(&format!("{value:.digits$}"))
    }
}

/// Two axes and the field between them.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
}

impl Frame {
    /// Draws grid lines, ticks and the axes' names. Without `y_name` there are no ticks to the left.
    pub fn draw(&self, svg: &mut Svg, x_name: &str, y_name: Option<&str>) {
        let (left, right, bottom, top) = (self.x.from_px, self.x.to_px, self.y.from_px, self.y.to_px);
        let grid = format!("stroke=\"{FAINT}\" stroke-width=\"1\"");
        for tick in self.x.ticks() {
            let x = self.x.at(tick);
            svg.line((x, bottom), (x, top), &grid);
            svg.text(x, bottom + 18.0, Anchor::Middle, GREY, &self.x.word(tick));
        }
        svg.text(f64::midpoint(left, right), bottom + 39.0, Anchor::Middle, GREY, x_name);
        if let Some(name) = y_name {
            let mut widest: f64 = 0.0;
            for tick in self.y.ticks() {
                let (y, word) = (self.y.at(tick), self.y.word(tick));
                svg.line((left, y), (right, y), &grid);
                svg.text(left - 8.0, y + 4.5, Anchor::End, GREY, &word);
                widest = widest.max(text_width(&word));
            }
            svg.upright_text(left - widest - 20.0, f64::midpoint(bottom, top), name);
        }
        self.border(svg);
    }

    /// Draws the two axes, on top of what is there.
    pub fn border(&self, svg: &mut Svg) {
        let (left, right, bottom, top) = (self.x.from_px, self.x.to_px, self.y.from_px, self.y.to_px);
        let ink = format!("stroke=\"{INK}\" stroke-width=\"1\"");
        svg.line((left, bottom), (right, bottom), &ink);
        svg.line((left, bottom), (left, top), &ink);
    }
}

/// Adds a bar to a path's commands.
pub fn bar(commands: &mut String, x: f64, y: f64, width: f64, height: f64) {
    let (x, y, width, height) = (px(x), px(y), px(width.max(0.1)), px(height));
    // Writing to a string cannot fail.
    let _ = write!(commands, "M{x} {y}h{width}v{height}h-{width}z");
}

/// An estimate of a text's width in pixels.
pub fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT_PX * LETTER
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn nice_step(least: f64) -> f64 {
    let mut power = 1e-6;
    while power * 10.0 <= least && power < 1e15 {
        power *= 10.0;
    }
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(least)
}

/// The values 1, 2 and 5 times a power of ten from `least` to `greatest`.
fn log_ticks(least: f64, greatest: f64) -> Vec<f64> {
    let mut ticks = Vec::new();
    let mut tick = nice_step(least);
    // Some forty decades are more than any number here has.
    while tick <= greatest * (1.0 + 1e-9) && ticks.len() < 120 {
        ticks.push(tick);
        tick = nice_step(tick * 1.5);
    }
    ticks
}

/// A number with its word, in the plural unless there is one.
pub fn plural(number: u64, word: &str) -> String {
    format!("{} {word}{}", thousands(&number.to_string()), if number == 1 { "" } else { "s" })
}

fn thousands(digits: &str) -> String {
    let (whole, fraction) = digits.split_once('.').map_or((digits, ""), |(whole, fraction)| (whole, fraction));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if fraction.is_empty() { text } else { format!("{text}.{fraction}") }
}

/// Pixels with two decimals at most: enough for the eye, and the files stay small.
fn px(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML has no control characters, not even escaped.
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Fails unless every tag is closed in its order, every attribute is quoted and no text has a bare `<` or `&`.
    pub(crate) fn assert_well_formed(svg: &str) {
        let mut open: Vec<String> = Vec::new();
        let mut rest = svg;
        while let Some(start) = rest.find('<') {
            assert_text(&rest[..start]);
            let end = start + rest[start..].find('>').expect("a tag that ends");
            let tag = &rest[start + 1..end];
            assert!(!tag.contains('<'), "a tag in a tag: {tag}");
            assert_eq!(tag.matches('"').count() % 2, 0, "an attribute without its end: {tag}");
            assert!(!tag.contains("NaN") && !tag.contains("inf"), "no number: {tag}");
            let name = |tag: &str| tag.split([' ', '/']).next().unwrap_or_default().to_owned();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(closed));
            } else if !tag.ends_with('/') {
                open.push(name(tag));
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "left open: {open:?} {rest}");
    }

    fn assert_text(text: &str) {
        assert!(!text.contains('>'), "a bare > in {text}");
        for (at, _) in text.match_indices('&') {
            let entity = ["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|entity| text[at..].starts_with(entity));
            assert!(entity, "a bare & in {text}");
        }
    }

    #[test]
    fn what_people_write_stays_text() {
        let mut svg = Svg::new(100.0, 50.0, "a < b & \"c\"", "\u{1b}[31m");
        svg.legend(0.0, 10.0, &[("fill=\"#fff\"".into(), "</svg>".into())]);
        let text = svg.finish();
        assert_well_formed(&text);
        assert!(text.contains("a &lt; b &amp; &quot;c&quot;") && !text.contains('\u{1b}'));
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::up_to(364.0, 6, 0.0, 400.0);
        assert_eq!(axis.ticks(), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!((axis.at(100.0), axis.at(1e9), axis.word(400.0)), (100.0, 400.0, "400".to_owned()));
        assert_eq!(Axis::exactly(364.0, 6, 0.0, 364.0).ticks(), [0.0, 100.0, 200.0, 300.0]);
        assert_eq!(Axis::up_to(14_280.0, 5, 0.0, 1.0).word(10_000.0), "10,000");
        assert_eq!(Axis::up_to(1.0, 5, 0.0, 1.0).word(0.2), "0.2");
        for nothing in [0.0, f64::NAN, f64::INFINITY, -3.0] {
            assert!(Axis::up_to(nothing, 5, 0.0, 10.0).ticks().len() > 1, "{nothing}");
        }
    }

    #[test]
    fn a_logarithmic_axis_ends_at_round_numbers() {
        let axis = Axis::logarithmic(260.0, 5_600.0, 0.0, 100.0);
        assert_eq!(axis.ticks(), [200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0]);
        assert_eq!((axis.at(200.0), axis.at(10_000.0), axis.at(0.0)), (0.0, 100.0, 0.0));
        assert!((axis.at(1_414.213_6) - 50.0).abs() < 0.01);
        for (least, greatest) in [(0.0, 0.0), (f64::INFINITY, 0.0), (5.0, 5.0), (f64::NAN, 1.0)] {
            assert!(Axis::logarithmic(least, greatest, 0.0, 10.0).ticks().len() > 1, "{least} {greatest}");
        }
    }

    #[test]
    fn a_pixel_has_no_needless_digits() {
        assert_eq!([1.0, 0.5, 12.345, 100.0].map(px), ["1", "0.5", "12.35", "100"].map(str::to_owned));
    }
}
