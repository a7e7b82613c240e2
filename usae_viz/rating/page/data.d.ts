/* What Python writes for this page (usae_viz/rating/study.py), and what the page keeps. */

/** data.js */
interface StudyData {
  study: string; // its id
  trials: number;
  choices: number; // a question
}

type Answer = [choice: number, seconds: number];
