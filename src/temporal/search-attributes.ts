import { readFile } from 'node:fs/promises';
import { z } from 'zod';

/** temporal.api.enums.v1.IndexedValueType */
export const attributeTypes = { Text: 1, Keyword: 2, Int: 3, Double: 4, Bool: 5, Datetime: 6, KeywordList: 7 } as const;
export type AttributeType = keyof typeof attributeTypes;
export const attributeTypeNames = Object.keys(attributeTypes) as AttributeType[];

const file = new URL('../../temporal/search-attributes.json', import.meta.url);

/** The search attributes that our workflows set, with their types: `temporal/search-attributes.json`. */
export async function wantedAttributes(): Promise<Record<string, AttributeType>> {
  return z.record(z.string(), z.enum(attributeTypeNames)).parse(JSON.parse(await readFile(file, 'utf8')));
}
