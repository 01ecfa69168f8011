import { Broken } from './target.ts';

const watched: readonly object[] = [
  Object.prototype,
  Array.prototype,
  Function.prototype,
  String.prototype,
  Map.prototype,
];
const before = watched.map((each) => Reflect.ownKeys(each).length);
const values = new Map(Reflect.ownKeys(Object.prototype).map((key) => [key, valueOf(key)]));

function valueOf(key: string | symbol): unknown {
  const found = Object.getOwnPropertyDescriptor(Object.prototype, key);
  return found && ('value' in found ? found.value : found.get);
}

/** Looks whether somebody has changed what all objects have in common. */
export const prototypes = {
  check(): void {
    for (const [n, each] of watched.entries()) {
      if (Reflect.ownKeys(each).length !== before[n]) {
        const added = Reflect.ownKeys(each)
          .filter((key) => !values.has(key))
          .map(String);
        // the next input is judged on its own
        for (const key of added) if (each === Object.prototype) Reflect.deleteProperty(each, key);
        throw new Broken(`prototype pollution: ${added.slice(0, 5).join(', ')}`);
      }
    }
  },
  /** The same, and whether each is still what it was: for now and then. */
  checkAll(): void {
    prototypes.check();
    for (const [key, value] of values) {
      if (valueOf(key) !== value) throw new Broken(`prototype pollution: Object.prototype.${String(key)} was replaced`);
    }
  },
};
