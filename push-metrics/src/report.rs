//! All numbers of a worker, as they travel and are added up.

use crate::exposition::Exposition;
use crate::number::{COUNT, Number, SERIES};
use crate::{BOUNDS, Histogram};

/// What a worker measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Span {
    /// From a publish to its answer.
    Publish,
    /// From a publish to the last local write of its message.
    Delivery,
}

/// The metrics of the [`Span`]s, by their place.
pub const HISTOGRAMS: [&str; 2] =
    ["bx_push_publish_duration_seconds", "bx_push_delivery_latency_seconds"];

/// What a worker has counted and measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    numbers: [u64; COUNT],
    histograms: [Histogram; HISTOGRAMS.len()],
}

impl Default for Report {
    fn default() -> Self {
        Self { numbers: [0; COUNT], histograms: [Histogram::default(); HISTOGRAMS.len()] }
    }
}

impl Report {
    /// A number.
    pub fn get(&self, number: Number) -> u64 {
        self.numbers[number as usize]
    }

    /// Sets a number.
    pub fn set(&mut self, number: Number, value: u64) {
        self.numbers[number as usize] = value;
    }

    /// What was measured.
    pub fn span(&self, span: Span) -> &Histogram {
        &self.histograms[span as usize]
    }

    /// Sets what was measured.
    pub fn set_span(&mut self, span: Span, histogram: Histogram) {
        self.histograms[span as usize] = histogram;
    }

    /// The sum of all series of a metric.
    pub fn sum(&self, name: &str) -> u64 {
        let series = SERIES.iter().zip(self.numbers);
        series.filter(|(series, _)| series.name == name).map(|(_, value)| value).sum()
    }

    /// What has happened since `base`; what holds now stays as it is here.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        let mut since = self.clone();
        for ((value, before), series) in since.numbers.iter_mut().zip(base.numbers).zip(SERIES) {
            if series.name.ends_with("_total") {
                *value = value.saturating_sub(before);
            }
        }
        for (histogram, before) in since.histograms.iter_mut().zip(&base.histograms) {
            *histogram = histogram.since(before);
        }
        since
    }

    /// Adds what another one has counted, and holds.
    pub fn add(&mut self, other: &Self) {
        for (value, more) in self.numbers.iter_mut().zip(other.numbers) {
            *value = value.saturating_add(more);
        }
        for (histogram, more) in self.histograms.iter_mut().zip(&other.histograms) {
            histogram.add(more);
        }
    }

    /// The same without what holds now.
    #[must_use]
    pub fn only_counted(mut self) -> Self {
        for (value, series) in self.numbers.iter_mut().zip(SERIES) {
            if !series.name.ends_with("_total") {
                *value = 0;
            }
        }
        self
    }

    /// As numbers on the link: how many plain ones, those, how many buckets, and for each histogram
    /// its buckets and its sum.
    pub fn to_words(&self) -> Vec<u64> {
        let mut words = Vec::with_capacity(2 + COUNT + HISTOGRAMS.len() * (BOUNDS.len() + 2));
        words.push(COUNT as u64);
        words.extend(self.numbers);
        words.push(BOUNDS.len() as u64 + 1);
        for histogram in &self.histograms {
            words.extend(histogram.buckets);
            words.push(histogram.sum);
        }
        words
    }

    /// Reads what another release may have written: what it does not have is 0, what it has more is
    /// left out; histograms with other buckets say nothing.
    pub fn from_words(words: &[u64]) -> Self {
        let mut report = Self::default();
        let Some((&count, rest)) = words.split_first() else { return report };
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest.len());
        let (numbers, rest) = rest.split_at(count);
        for (value, &word) in report.numbers.iter_mut().zip(numbers) {
            *value = word;
        }
        let Some((&buckets, rest)) = rest.split_first() else { return report };
        if buckets == BOUNDS.len() as u64 + 1 {
            for (histogram, words) in
                report.histograms.iter_mut().zip(rest.chunks_exact(BOUNDS.len() + 2))
            {
                histogram.buckets.copy_from_slice(&words[..=BOUNDS.len()]);
                histogram.sum = words[BOUNDS.len() + 1];
            }
        }
        report
    }

    /// Writes it for Prometheus; `labels` stand in front of each series' own.
    pub fn expose(&self, out: &mut Exposition, labels: &str) {
        for (series, value) in SERIES.iter().zip(self.numbers) {
            out.number(series.name, &[labels, series.labels], value);
        }
        for (name, histogram) in HISTOGRAMS.iter().zip(&self.histograms) {
            out.histogram(name, &[labels], histogram);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_travels() {
        let mut report = Report::default();
        report.set(Number::Delivered, 7);
        report.set(Number::Channels, 3);
        let mut histogram = Histogram::default();
        histogram.record(333);
        report.set_span(Span::Delivery, histogram);
        let words = report.to_words();
        assert_eq!(Report::from_words(&words), report);
        for len in 0..words.len() {
            let _ = Report::from_words(&words[..len]);
        }
        assert_eq!(Report::from_words(&[u64::MAX, 1]).get(Number::WebsocketsProtobuf), 1);
        // A later release has more numbers, and other buckets.
        let mut later = words.clone();
        later[0] += 1;
        later.insert(1 + COUNT, 99);
        assert_eq!(Report::from_words(&later), report);
    }

    #[test]
    fn what_holds_is_not_counted() {
        let (mut before, mut now) = (Report::default(), Report::default());
        before.set(Number::Delivered, 5);
        before.set(Number::Channels, 9);
        now.set(Number::Delivered, 8);
        now.set(Number::Channels, 4);
        let since = now.since(&before);
        assert_eq!((since.get(Number::Delivered), since.get(Number::Channels)), (3, 4));
        assert_eq!(since.only_counted().get(Number::Channels), 0);
        assert!(Number::Channels.is_gauge() && !Number::Delivered.is_gauge());
    }
}
