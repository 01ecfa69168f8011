/** Text from outside as a message shows it: in quotes, escaped, and not too long. */
export const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
