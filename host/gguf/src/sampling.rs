//! From logits to one token, in the order of llama.cpp's own chain: top-k, top-p, min-p, temperature, chance.
//!
//! Written out here because llama.cpp's chain sorts the whole vocabulary at each token; the grammar alone is asked of
//! it. Knows nothing of text.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use crate::request::Request;

/// Tokens that are looked at beyond the likeliest one. What lies further down has next to no probability.
const CANDIDATES_MAX: usize = 1024;

pub(crate) struct Sampler {
    temperature: f32,
    top_p: f32,
    min_p: f32,
    candidates_max: usize,
    chance: SplitMix,
    grammar: Option<LlamaSampler>,
}

#[derive(Clone, Copy)]
struct Candidate {
    token: i32,
    logit: f32,
}

impl Sampler {
    pub fn new(request: &Request, grammar: Option<LlamaSampler>) -> Self {
        let top_k = if request.top_k == 0 { CANDIDATES_MAX } else { request.top_k as usize };
        Self {
            temperature: request.temperature,
            top_p: request.top_p,
            min_p: request.min_p,
            candidates_max: top_k.min(CANDIDATES_MAX),
            chance: SplitMix(request.seed.unwrap_or_else(|| RandomState::new().hash_one(0_u8))),
            grammar,
        }
    }

    /// The next token; `None` if no token is possible.
    pub fn sample(&mut self, logits: &[f32]) -> Option<LlamaToken> {
        let token = self.choose(logits)?;
        let Some(grammar) = &mut self.grammar else { return Some(token) };
        // Most tokens fit, and to ask for one is cheap; the whole vocabulary is asked only if it does not.
        let token = if admits(grammar, token) { token } else { self.choose_admitted(logits)? };
        // A token that the grammar does not admit would end the process here; it was asked just now.
        self.grammar.as_mut()?.try_accept(token).ok()?;
        Some(token)
    }

    fn choose_admitted(&mut self, logits: &[f32]) -> Option<LlamaToken> {
        let mut all = LlamaTokenDataArray::from_iter(
            (0..).zip(logits).map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), *logit, 0.0)),
            false,
        );
        all.apply_sampler(self.grammar.as_mut()?);
        // The grammar only lowers logits, and leaves all where they are.
        let admitted: Vec<f32> = all.data.iter().map(LlamaTokenData::logit).collect();
        self.choose(&admitted)
    }

    fn choose(&mut self, logits: &[f32]) -> Option<LlamaToken> {
        let token = if self.temperature > 0.0 { self.draw(logits) } else { likeliest(logits) };
        token.map(LlamaToken)
    }

    fn draw(&mut self, logits: &[f32]) -> Option<i32> {
        let mut candidates = top(logits, self.candidates_max);
        candidates.sort_unstable_by(descending);
        let best = candidates.first()?.logit;
        candidates.truncate(top_p(&candidates, best, self.top_p));
        candidates.retain(|candidate| (candidate.logit - best).exp() >= self.min_p);
        let weights =
            candidates.iter().map(|candidate| f64::from((candidate.logit - best) / self.temperature).exp());
        let mut left = self.chance.next() * weights.clone().sum::<f64>();
        let drawn = weights.zip(&candidates).find(|(weight, _)| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a rest after the last.
        drawn.map(|(_, candidate)| candidate).or(candidates.last()).map(|candidate| candidate.token)
    }
}

fn admits(grammar: &mut LlamaSampler, token: LlamaToken) -> bool {
    let mut one = LlamaTokenDataArray::new(vec![LlamaTokenData::new(token, 0.0, 0.0)], false);
    one.apply_sampler(grammar);
    one.data.first().is_some_and(|token| token.logit() > f32::NEG_INFINITY)
}

/// The first of the likeliest. Comparisons with NaN are false, so NaN never wins.
fn likeliest(logits: &[f32]) -> Option<i32> {
    let mut best = (None, f32::NEG_INFINITY);
    for (token, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            best = (Some(token), *logit);
        }
    }
    best.0
}

/// The `count` likeliest, in no order. One pass: what is below the worst of the last selection is not kept at all.
fn top(logits: &[f32], count: usize) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::with_capacity(4 * count);
    let mut bar = f32::NEG_INFINITY;
    for (token, logit) in (0..).zip(logits) {
        if *logit > bar {
            kept.push(Candidate { token, logit: *logit });
            if kept.len() == 4 * count {
                bar = keep_best(&mut kept, count);
            }
        }
    }
    keep_best(&mut kept, count);
    kept
}

/// Cuts down to `count`, and says how low the lowest of them is.
fn keep_best(kept: &mut Vec<Candidate>, count: usize) -> f32 {
    if kept.len() <= count {
        return f32::NEG_INFINITY;
    }
    let (_, worst, _) = kept.select_nth_unstable_by(count - 1, descending);
    let bar = worst.logit;
    kept.truncate(count);
    bar
}

fn descending(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// How many of the sorted candidates make up the share `p`.
fn top_p(candidates: &[Candidate], best: f32, p: f32) -> usize {
    let weight = |candidate: &Candidate| (candidate.logit - best).exp();
    let wanted = p * candidates.iter().map(weight).sum::<f32>();
    let mut sum = 0.0;
    let enough = candidates.iter().position(|candidate| {
        sum += weight(candidate);
        sum >= wanted
    });
    enough.map_or(candidates.len(), |last| last + 1)
}

/// SplitMix64 (Steele, Lea, Flood 2014): ten lines, one number of state, good enough to draw words.
struct SplitMix(u64);

impl SplitMix {
    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(change: impl FnOnce(&mut Request)) -> Sampler {
        let mut request = Request {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: Some(7),
            ..Request::default()
        };
        change(&mut request);
        Sampler::new(&request, None)
    }

    fn counts(sampler: &mut Sampler, logits: &[f32]) -> Vec<usize> {
        let mut counts = vec![0; logits.len()];
        for _ in 0..10_000 {
            let token = sampler.sample(logits).expect("there is a finite logit").0;
            counts[usize::try_from(token).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn draws_by_probability() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let counts = counts(&mut sampler(|_| ()), &logits);
        assert!(counts[0].abs_diff(5000) < 200 && counts[1].abs_diff(3000) < 200, "{counts:?}");
    }

    #[test]
    fn each_filter_cuts_where_it_says() {
        let logits = [0.2_f32.ln(), 0.5_f32.ln(), 0.3_f32.ln()];
        assert_eq!(counts(&mut sampler(|request| request.top_k = 2), &logits)[0], 0);
        assert_eq!(counts(&mut sampler(|request| request.top_p = 0.7), &logits)[0], 0);
        assert_eq!(counts(&mut sampler(|request| request.min_p = 0.5), &logits)[0], 0);
        assert_eq!(counts(&mut sampler(|request| request.top_p = 0.4), &logits)[1], 10_000);
    }

    #[test]
    fn the_one_pass_selection_is_exact() {
        let mut chance = SplitMix(1);
        let logits: Vec<f32> = (0..50_000).map(|_| chance.next() as f32).collect();
        let mut all: Vec<Candidate> =
            (0..).zip(&logits).map(|(token, logit)| Candidate { token, logit: *logit }).collect();
        all.sort_by(descending);
        let mut selected = top(&logits, 40);
        selected.sort_by(descending);
        assert!(selected.iter().map(|c| c.logit).eq(all[..40].iter().map(|c| c.logit)));
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_token() {
        assert_eq!(sampler(|_| ()).sample(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(
            sampler(|request| request.temperature = 0.0).sample(&[f32::NAN, 1.0]),
            Some(LlamaToken(1))
        );
    }
}
