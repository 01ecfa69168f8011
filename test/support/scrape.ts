/** What one scrape of `/metrics` gave. */
export interface Scrape {
  text: string;
  /** Names of families, as `# TYPE` has them. */
  families: ReadonlySet<string>;
  /** The value of the one sample with these labels; undefined when there is none. */
  value(name: string, labels?: Record<string, string>): number | undefined;
  /** The sum of all samples with these labels. */
  sum(name: string, labels?: Record<string, string>): number;
}

const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;

export async function scrape(url: string): Promise<Scrape> {
  const answer = await fetch(`${url}/metrics`);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}/metrics answered ${answer.status}: ${text}`);
  return parseScrape(text);
}

export function parseScrape(text: string): Scrape {
  const samples: { name: string; labels: Map<string, string>; value: number }[] = [];
  for (const line of text.split('\n')) {
    const [, name, labels = '', value] = sample.exec(line) ?? [];
    if (name === undefined || line.startsWith('#')) continue;
    const pairs = labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
    samples.push({ name, labels: new Map([...pairs].map(([, key = '', of = '']) => [key, of])), value: Number(value) });
  }
  const matching = (name: string, labels: Record<string, string> = {}) =>
    samples.filter(
      (one) => one.name === name && Object.entries(labels).every(([key, of]) => one.labels.get(key) === of),
    );
  return {
    text,
    families: new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name)),
    value: (name, labels) => matching(name, labels)[0]?.value,
    sum: (name, labels) => matching(name, labels).reduce((sum, { value }) => sum + value, 0),
  };
}
