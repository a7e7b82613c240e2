/* What the scripts of this page hand to each other. */

interface PageData extends ExplorerData {
  column: Map<string, ColumnData>; // by key
  place: Map<string, number>; // of a card, by its id
}

/** What is shown, and how: all of it is in the address. */
interface View {
  query: string;
  sort: string; // a column's key, `index` or `name`
  descending: boolean;
  size: "s" | "m" | "l";
  run: string; // its number, or `all`
  favourites: boolean;
  label: string;
  fires: string; // a backbone
  not: string; // a backbone
  threshold: number; // share of the patches from which a concept counts as firing
  pictures: string;
  scene: "cards" | "atlas";
  colour: string; // the atlas's, a column's key
  viewport: string; // the atlas's part of the plane
  ranges: Record<string, [number, number]>; // by column: least, most
  concept: string; // open, by id
  compare: string[]; // ids
  side: boolean; // whether those compared are open, side by side
}

interface Label {
  name: string;
  note: string;
  favourite: boolean;
}

type Filter = (data: PageData, view: View, labels: Labels) => (at: number) => boolean;

/** A row of pictures that every card has room for. */
interface PictureRow {
  run: number;
  variant: string | null;
  mode: string;
}

interface Layout {
  rows: PictureRow[];
  shared: boolean; // whether there is a column for shared pictures
}

interface Page {
  data: PageData;
  labels: Labels;
  standard: View;
  view: View;
  places: number[]; // of the cards shown, in their order
  layout: Layout;
  update(change: Partial<View>): void; // change the view, and show it
  setViewport(viewport: string): void; // the atlas was moved
  open(id: string): void;
  compare(id: string): void;
  closed(): void; // the sheet is
  sideBySide(): void; // open those compared
  togglePanel(open: boolean): void;
  importLabels(input: HTMLInputElement): Promise<void>;
  copyLink(status: HTMLElement): Promise<void>;
}

/** A part of the filters, and what brings it in line with the view. */
interface Control {
  element: HTMLElement;
  sync(): void;
}

/** From a value to a place, 0 to 1, and back. */
interface Scale {
  low: number;
  high: number;
  place(value: number): number;
  value(place: number): number;
}

/** A way to lay the cards out: the grid, or the atlas. */
interface Scene {
  measure(): void; // its room, or how it fills it, has changed
  redraw(): void; // what is shown has changed
  focus(place: number): void; // of a card among those shown
  enter(): void; // give the focus to what is in view
  current: number | null; // the concept that keys are at, by its place in the data
}

type Heading = "h2" | "h3" | "h4" | "h5";

/** A part of the atlas's plane: its middle, and how many times nearer than all of it. */
interface Viewport {
  x: number;
  y: number;
  zoom: number;
}

/** A part of a picture. */
interface Cutting {
  image: HTMLImageElement;
  left: number;
  top: number;
  side: number;
}
