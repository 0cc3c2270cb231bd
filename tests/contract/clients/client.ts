// What a user of the generated types writes; it must compile as it stands.
import type { components, operations, paths } from "./schema";

type Task = components["schemas"]["TaskRead"];
type Problem = components["schemas"]["Problem"];
type Query = NonNullable<operations["list_tasks"]["parameters"]["query"]>;
type Page = paths["/api/v1/tasks"]["get"]["responses"][200]["content"]["application/json"];

export async function listTasks(at: string, query: Query): Promise<Page> {
  const parameters = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const answer = await fetch(`${at}/api/v1/tasks?${parameters}`);
  if (!answer.ok) throw new Error(explain((await answer.json()) as Problem));
  return (await answer.json()) as Page;
}

export async function getTask(at: string, code: string): Promise<Task | Problem> {
  const answer = await fetch(`${at}/api/v1/tasks/${code}`);
  return answer.ok ? ((await answer.json()) as Task) : ((await answer.json()) as Problem);
}

export function explain(problem: Problem): string {
  const faults: string[] = (problem.errors ?? []).map((fault) => fault.detail);
  return [problem.status.toFixed(), problem.title, problem.detail, ...faults].join(" ");
}

export async function leads(at: string): Promise<string[]> {
  const page = await listTasks(at, { battle: "431228-2023-1", role: "lead", has_targets: true, limit: 100 });
  const next: string | null = page.next_cursor;
  return next === null ? page.items.flatMap((task) => task.leads.map((unit) => unit.name)) : [];
}

// @ts-expect-error: not a role
export const noSuchRole: Query = { role: "boss" };

// @ts-expect-error: not a parameter
export const noSuchParameter: Query = { colour: "red" };

// @ts-expect-error: no field of a task may be missing
export const incomplete: Task = { code: "431228-2023-1-2-5" };
