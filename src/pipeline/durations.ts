/** Every duration of a pipeline, in ms. They come in with the workflow's input, so that tests can be quick and one run can be changed. */
export interface Durations {
  /** Nothing heard of a build for this long: read it. Doubles with each silent read … */
  silence: number;
  /** … up to this. */
  silenceMax: number;
  /** A job that has not ended by then is stopped and is a `timeout`. */
  deadline: number;
  /** A parked step becomes `failed` after this. */
  parkLimit: number;
  /** When the latest status of each job is sent once more. */
  resend: number;
  /** How long the CI may take to confirm a cancel. */
  cancelConfirm: number;
  /** When a build whose create answer was lost is looked for again, before the workflow closes. */
  sweeps: number[];
  /** Waits between the searches for a build whose create answer was lost; after the last one it is created again. */
  looks: number[];
  /** A word about an unknown build, while the create has no answer, starts a search after this. */
  searchGrace: number;
  /** How long a failure may wait for the read that tells whether it was a time-out. */
  unsure: number;
  /** How long a pipeline that was opened again waits for the word that opened it. */
  reopenGrace: number;
  /** How long after the end of a build its steps may still be shown as running. */
  logPatience: number;
  createTimeout: number;
  readTimeout: number;
  publishTimeout: number;
  /** First and longest wait between attempts of an activity. */
  retryFirst: number;
  retryMax: number;
  /** Continue as new after this many history events, even if the server does not suggest it yet. */
  maxEvents: number;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

export const defaultDurations: Durations = {
  silence: 2 * minute,
  silenceMax: hour,
  deadline: 24 * hour,
  parkLimit: 72 * hour,
  resend: 45 * second,
  cancelConfirm: 2 * minute,
  sweeps: [minute, 5 * minute, 30 * minute],
  looks: [2 * second, 5 * second, 10 * second, 20 * second],
  searchGrace: 2 * second,
  unsure: 20 * second,
  reopenGrace: minute,
  logPatience: 2 * minute,
  createTimeout: 30 * second,
  readTimeout: minute,
  publishTimeout: 10 * second,
  retryFirst: second,
  retryMax: 2 * minute,
  maxEvents: 4000,
};
