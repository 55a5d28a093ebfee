// Streams the golden samples through an artefact, several times, and returns the decisions and the time of each step.

export async function measure(stream, samples, rounds) {
  const steps = [], milliseconds = [];
  for (let round = 0; round < rounds; round++) {
    stream.reset();
    for (let begin = 0; begin + stream.size <= samples.length; begin += stream.size) {
      const step = samples.slice(begin, begin + stream.size), start = performance.now();
      const decision = await stream.push(step);
      milliseconds.push(performance.now() - start);
      if (round === 0) steps.push(decision);
    }
  }
  const { labels } = stream.contract;
  return {
    logits: steps.map(({ logits }) => logits),
    probabilities: steps.map(({ probabilities }) => probabilities),
    answers: steps.map(({ answer }) => labels.indexOf(answer)),
    events: [...steps.flatMap(({ events }) => events), ...stream.finish()],
    milliseconds,
  };
}
