import fc from 'fast-check';
import { hostileKey, hostileValue, Raw } from './hostile.ts';

/** A JSON value in a form that can hold a key twice, and text that is no JSON. */
type Node = Raw | { list: Node[] } | { fields: [key: string, value: Node][] } | { plain: unknown };

/** One change of a document: what, at which of its places, and what to put there. */
type Change = [kind: number, at: number, key: string, value: unknown, choice: number];

const kinds = 9;
/** What is larger is not made any larger. */
const mostPlaces = 3_000;

/** Real documents with some of their values replaced by hostile ones, and keys dropped, doubled, renamed or added. */
export function changedJson(documents: readonly string[]): fc.Arbitrary<Buffer> {
  const trees = documents.map((each) => JSON.parse(each) as unknown);
  const change = fc.tuple(fc.nat(kinds - 1), fc.nat(), hostileKey, hostileValue, fc.nat());
  return fc
    .tuple(fc.nat({ max: trees.length - 1 }), fc.array(change, { maxLength: 5, size: 'max' }))
    .map(([base, changes]) => {
      let root = nodeOf(trees[base]);
      const other = () => nodeOf(trees[(base + 1) % trees.length]);
      for (const each of changes) root = changed(root, each, other);
      return Buffer.from(write(root));
    });
}

function nodeOf(value: unknown): Node {
  if (value instanceof Raw) return value;
  if (Array.isArray(value)) return { list: value.map(nodeOf) };
  if (typeof value !== 'object' || value === null) return { plain: value };
  return { fields: Object.entries(value).map(([key, inner]) => [key, nodeOf(inner)]) };
}

function write(node: Node): string {
  if (node instanceof Raw) return node.text;
  if ('list' in node) return `[${node.list.map(write).join(',')}]`;
  if ('fields' in node)
    return `{${node.fields.map(([key, value]) => `${JSON.stringify(key)}:${write(value)}`).join(',')}}`;
  return JSON.stringify(node.plain) ?? 'null';
}

/** A place in a tree: where it hangs, and at which number there. */
interface Place {
  parent: { list: Node[] } | { fields: [string, Node][] };
  at: number;
}

function placesIn(node: Node, found: Place[] = []): Place[] {
  if (node instanceof Raw || 'plain' in node) return found;
  const children = 'list' in node ? node.list : node.fields.map(([, value]) => value);
  for (const [at, child] of children.entries()) {
    found.push({ parent: node, at });
    placesIn(child, found);
  }
  return found;
}

function changed(root: Node, [kind, where, key, value, choice]: Change, other: () => Node): Node {
  const places = placesIn(root);
  if (places.length > mostPlaces) return root;
  const place = places[where % Math.max(1, places.length)];
  if (!place || (kind === 8 && choice % 16 === 0)) return nodeOf(value);
  const { parent, at } = place;
  const set = (node: Node): void => {
    if ('list' in parent) parent.list[at] = node;
    else parent.fields[at] = [parent.fields[at]?.[0] ?? '', node];
  };
  const here = 'list' in parent ? parent.list[at] : parent.fields[at]?.[1];
  switch (kind) {
    case 0:
    case 1:
    case 2:
      set(nodeOf(value));
      break;
    case 3:
      ('list' in parent ? parent.list : parent.fields).splice(at, 1);
      break;
    case 4:
      if ('list' in parent) parent.list.push(...(here ? Array.from({ length: 1 + (choice % 8) }, () => here) : []));
      else parent.fields.push([parent.fields[at]?.[0] ?? '', nodeOf(value)]);
      break;
    case 5:
      if ('fields' in parent) parent.fields[at] = [key, here ?? nodeOf(value)];
      else parent.list.unshift(nodeOf(value));
      break;
    case 6:
      if ('fields' in parent) parent.fields.splice(at, 0, [key, nodeOf(value)]);
      else parent.list.splice(at, 0, nodeOf(value));
      break;
    case 7: {
      const elsewhere = places[choice % places.length];
      const moved =
        elsewhere &&
        ('list' in elsewhere.parent ? elsewhere.parent.list : elsewhere.parent.fields.map(([, one]) => one))[
          elsewhere.at
        ];
      set(moved ? copyOf(moved) : other());
      break;
    }
    default:
      set({ list: [here ?? nodeOf(value)] });
  }
  return root;
}

/** What is put in a second time is a copy: a tree that holds itself has no end. */
function copyOf(node: Node): Node {
  if (node instanceof Raw || 'plain' in node) return node;
  if ('list' in node) return { list: node.list.map(copyOf) };
  return { fields: node.fields.map(([key, value]) => [key, copyOf(value)]) };
}
