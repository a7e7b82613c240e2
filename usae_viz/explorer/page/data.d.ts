/* What Python writes for this page: usae_viz/explorer/page.py and cards.py. */

type Verdict = "strong" | "weak" | "failed";

/** data.js: all that the page knows before a card is looked at in full. */
interface ExplorerData {
  schema: number;
  title: string;
  usae: UsaeData;
  backbones: string[];
  natural: number; // top-activating patches per backbone; 0: none are shown
  missing: string[];
  runs: RunData[];
  columns: ColumnData[];
  cards: CardData[];
  atlas: AtlasData | null;
  versions: Record<string, string>;
}

interface UsaeData {
  source: string | null;
  sha256: string | null;
  n_concepts: number | null;
  active: string | null;
  grid: [number, number] | null; // rows, columns
  factors: FactorData[]; // where the truth is known
  top: number[] | null; // all concepts, the most universal first
  names: LabelData[];
}

/** A factor value, such as `colour: red`, and the concept that follows it best. */
interface FactorData {
  value: string;
  concept: number;
  auroc: number; // in the weakest backbone
}

interface LabelData {
  concept: number;
  name: string;
  favourite: boolean;
  note: string;
}

interface RunData {
  name: string;
  full: string; // where its PNGs are, seen from index.html
  settings: string; // in words
}

/** A figure of every card, in the cards' order; null where it is not known. */
interface ColumnData {
  key: string;
  label: string;
  description: string;
  kind: FigureKind;
  values: (number | null)[];
  backbone: string | null;
  log: boolean;
}

interface CardData {
  id: string;
  concept: number | null;
  detail: number;
  objective: string;
  of_class: boolean;
  follows: string | null;
  natural: number[]; // number of top-activating patches, by backbone
  run_pictures: RunPicturesData[];
}

interface RunPicturesData {
  run: number;
  pictures: PictureData[];
}

interface PictureData {
  file: string; // below the run's folder, without its ending
  mode: string;
  backbone: string;
  seed: number;
  verdict: Verdict | null; // null: not known
  strengths: (number | null)[] | null; // by backbone: a concept's code, or a class's probability
  animation: string | null; // its ending
  variant: string | null; // of a recipe with variants
}

/** Where each card lies in a plane, 0 to 1 in both directions; null for what is not a concept. */
interface AtlasData {
  x: (number | null)[];
  y: (number | null)[];
}

/** details/PLACE.js: what is loaded once a card is looked at. */
interface DetailData {
  natural: NaturalData[][]; // by backbone
  pictures: Record<string, PictureDetailData>[]; // by run and file
}

interface NaturalData {
  rank: number;
  image: number;
  token: number;
  label: string;
  codes: number[]; // by backbone
  heat: string[]; // by backbone: a byte per patch, base64
}

interface PictureDetailData {
  scores: ScoresData | null;
  ended: string | null;
}

interface ScoresData {
  verdict: Verdict;
  drawn_for: string[];
  backbones: Record<string, ScoreData>;
}

/** A picture through one backbone: of a concept its code, of a class its probability. */
interface ScoreData {
  verdict: Verdict;
  short: string; // what a better verdict lacks
  rank: number;
  noise: number | null;
  code?: number;
  share?: number;
  percentile?: number | null;
  others?: number | null;
  probability?: number;
  index?: number;
  name?: string | null;
  read_as?: number;
  read_name?: string | null;
}
