/* What `h` of dom.js takes. */

type Leaf = Node | string | number | boolean | null | undefined;
type Child = Leaf | Child[];
type Handlers = { [K in keyof HTMLElementEventMap as `on${K}`]?: (event: HTMLElementEventMap[K]) => unknown };
type Properties = Handlers & { style?: Record<string, string | number>; [attribute: string]: unknown };
type FigureKind = "share" | "number" | "count" | "percent";
