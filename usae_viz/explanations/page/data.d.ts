/* What Python writes for this page: usae_viz/explanations/page.py and record.py. */

/** data.js */
interface ExplanationData {
  backbones: string[];
  photographs: PhotographData[];
  patches: Record<string, number[]>; // by concept: how many patches each backbone has
  tiles: number; // patches in a row of a concept's picture of them
  no_patches: string; // why there are none
  drawings: Record<string, DrawingData[]>; // by concept
}

interface PhotographData {
  name: string;
  width: number;
  height: number;
  seen: { left: number; top: number; side: number }; // the square that backbones see
  agreed: number[]; // concepts
  only: Record<string, number[]>; // by backbone: concepts that fire in it alone
  names: Record<string, string>; // by concept
  backbones: Record<string, BackboneData>;
}

interface BackboneData {
  grid: [number, number]; // rows, columns
  answer: { name: string; probability: number } | null;
  asked: { class: number; name: string } | null;
  no_importance: string | null; // why concepts have none
  concepts: ConceptData[];
}

interface ConceptData {
  concept: number;
  peak: number; // the largest code of any patch
  area: number; // share of the patches in which it fires
  light?: string; // of each patch: a byte, base64
  exact?: number | null; // what the logit loses without the concept
  estimate?: number; // the same by the gradient
}

interface DrawingData {
  file: string;
  backbone: string;
  verdict: "strong" | "weak" | "failed" | null;
}

/** A way to list a photograph's concepts. */
interface Order {
  label: string;
  meaning: string;
  rows: ConceptData[];
  value(row: ConceptData): string | HTMLElement; // at the right of a row
}
