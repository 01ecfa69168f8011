/** tack's variables that mean nothing to Whorl, and what their user should do instead. */
const notes: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [
    /^TACK_DB_PATH$/,
    'is not used. Whorl keeps its state in PostgreSQL: set WHORL_DATABASE_URL, or WHORL_DATA_DIR for the database that `whorl up` runs itself. ' +
      "tack's file is not read: who may use this spindle is read from the network again",
  ],
  [
    /^TACK_BUILDKITE_PIPELINE$/,
    'is not used. Each workflow file names its pipeline: `tack: {buildkite: {pipeline: …}}`',
  ],
  [
    /^TACK_TEKTON_/,
    'is not used. This release has no Tekton provider, and jobs that ask for it get a failed status. Keep tack for them, or move them to Buildkite',
  ],
  [
    /^TACK_SOURCEHUT_/,
    'is not used. This release has no sourcehut provider, and jobs that ask for it get a failed status. Keep tack for them, or move them to Buildkite',
  ],
];

/** The advice about a variable of tack's that Whorl does not take, to be read after its name. */
export function adviceAboutTack(name: string): string | undefined {
  return notes.find(([pattern]) => pattern.test(name))?.[1];
}
