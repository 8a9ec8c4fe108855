import { Link } from "@chakra-ui/react";
import { Link as RouterLink, useParams } from "react-router-dom";

import { StreamView } from "./StreamView";

export function DetailPage() {
  const { name = "" } = useParams();
  const back = (
    <Link asChild alignSelf="start" colorPalette="blue" fontSize="sm">
      <RouterLink to="/plugin/reindex">← All streams</RouterLink>
    </Link>
  );
  return <StreamView above={back} key={name} name={name} />;
}
