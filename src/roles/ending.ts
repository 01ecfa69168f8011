import { setTimeout as delay } from 'node:timers/promises';

type Stop = () => Promise<unknown>;

/** What a process consists of, and the order in which it ends. */
export interface Ending {
  /** Whether the process was told to stop. `/readyz` says so from then on, so that nobody is sent here any more. */
  readonly isTold: boolean;
  /** Takes work. It stops first, and gives back at once what others can do. */
  role(stop: Stop): void;
  /** Answers requests: until the roles have ended, and for as long as a load balancer needs to let go of it. */
  face(stop: Stop): void;
  /** The others need it, so it ends last. */
  service(stop: Stop): void;
  /** Ends all, once. What fails to end does not keep the others; then it rejects with all reasons. */
  stop(noticeMs: number): Promise<void>;
}

export function ending(): Ending {
  const roles: Stop[] = [];
  const faces: Stop[] = [];
  const services: Stop[] = [];
  const errors: unknown[] = [];
  let stopped: Promise<void> | undefined;

  const end = async (stop: Stop): Promise<void> => {
    try {
      await stop();
    } catch (error) {
      errors.push(error);
    }
  };

  const endAll = async (noticeMs: number): Promise<void> => {
    await Promise.all([...roles.map(end), delay(noticeMs)]);
    await Promise.all(faces.map(end));
    for (const stop of services.toReversed()) await end(stop);
    if (errors.length > 0) throw new AggregateError(errors, 'could not stop everything');
  };

  return {
    get isTold() {
      return stopped !== undefined;
    },
    role: (stop) => void roles.push(stop),
    face: (stop) => void faces.push(stop),
    service: (stop) => void services.push(stop),
    stop: (noticeMs) => (stopped ??= endAll(noticeMs)),
  };
}
