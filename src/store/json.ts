/** What PostgreSQL cannot store in text: NUL, and halves of surrogate pairs. */
export const plainText = (text: string): string => text.replaceAll('\0', '\ufffd').toWellFormed();

/** JSON that PostgreSQL takes, whatever strings a CI put into it. Send it as `${text}::text::jsonb`. */
export const jsonText = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'string' ? plainText(inner) : inner));
