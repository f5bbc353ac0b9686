// Tasks that are due, in the order in which they start: priority, then the time at which they became ready, then enqueue order.
import { Heap } from "./heap.ts";
import type { TaskRecord } from "./state.ts";

/** One task's place in one order. Marked when it is given up, so that giving it up needs no search. */
export interface Place {
  readonly task: TaskRecord;
  readonly priority: number;
  readonly readyAt: number;
  taken: boolean;
}

/** True when `a` starts before `b`. */
export function startsBefore(a: Place, b: Place): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.readyAt !== b.readyAt) return a.readyAt < b.readyAt;
  return a.task.sequence < b.task.sequence;
}
const inPlace = (place: Place): boolean => !place.taken;

/** One priority. Nearly all places come in order and go to a plain queue at constant cost; the rest go to a heap. */
class PriorityLane {
  #queue: (Place | undefined)[] = [];
  #head = 0;
  readonly #late: Heap<Place> = new Heap<Place>(startsBefore, inPlace);

  push(place: Place): void {
    const last = this.#queue[this.#queue.length - 1];
    if (last === undefined || startsBefore(last, place)) this.#queue.push(place);
    else this.#late.push(place);
  }

  peek(): Place | undefined {
    let first = this.#queue[this.#head];
    while (first !== undefined && first.taken) {
      this.#queue[this.#head++] = undefined;
      first = this.#queue[this.#head];
    }
    if (first === undefined) this.#reset();
    else if (this.#head > 1_024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    const late = this.#late.peek();
    if (first === undefined || late === undefined) return first ?? late;
    return startsBefore(late, first) ? late : first;
  }

  places(): Place[] {
    const places = this.#queue.slice(this.#head).filter((place): place is Place => place !== undefined && !place.taken);
    this.#late.visit(
      () => true,
      (place) => places.push(place),
    );
    return places;
  }

  #reset(): void {
    this.#queue = [];
    this.#head = 0;
  }
}

/** A set of places in starting order. */
export class ReadyOrder {
  readonly #lanes = new Map<number, PriorityLane>();
  /** Highest first. */
  readonly #priorities: number[] = [];
  #size = 0;
  #given = 0;

  get size(): number {
    return this.#size;
  }

  add(task: TaskRecord): Place {
    const place: Place = { task, priority: task.priority, readyAt: task.readyAt, taken: false };
    this.#insert(place);
    this.#size++;
    return place;
  }

  /** Gives a place up. */
  remove(place: Place): void {
    if (place.taken) return;
    place.taken = true;
    this.#size--;
    this.#given++;
    // Places given up in the middle (cancelled, moved) are dropped together once they are the greater part.
    if (this.#given > 4_096 && this.#given > this.#size * 2) this.#rebuild();
  }

  first(): Place | undefined {
    for (;;) {
      const priority = this.#priorities[0];
      if (priority === undefined) return undefined;
      const place = this.#lanes.get(priority)?.peek();
      if (place !== undefined) return place;
      this.#lanes.delete(priority);
      this.#priorities.shift();
    }
  }

  #insert(place: Place): void {
    let lane = this.#lanes.get(place.priority);
    if (lane === undefined) {
      lane = new PriorityLane();
      this.#lanes.set(place.priority, lane);
      const at = this.#priorities.findIndex((priority) => priority < place.priority);
      this.#priorities.splice(at < 0 ? this.#priorities.length : at, 0, place.priority);
    }
    lane.push(place);
  }

  #rebuild(): void {
    this.#given = 0;
    const places = [...this.#lanes.values()]
      .flatMap((lane) => lane.places())
      .sort((a, b) => (startsBefore(a, b) ? -1 : 1));
    this.#lanes.clear();
    this.#priorities.length = 0;
    for (const place of places) this.#insert(place);
  }
}
